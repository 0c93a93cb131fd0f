"""A scene for each test: on SQLite, and on both databases for the stories that go through the whole line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flow.scene import Scene, acme, open_scene


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Opens scenes on SQLite; `stage(preferences={…})` for other settings."""
    with ExitStack() as stack:
        opened = 0

        def open_one(database_url: str | None = None, *, top: dict[str, Any] | None = None, **changes: Any) -> Scene:
            nonlocal opened
            opened += 1
            directory = tmp_path / f"scene{opened}"
            directory.mkdir()
            configuration = {**acme(**changes), **(top or {})}
            return stack.enter_context(contextmanager(open_scene)(directory, configuration, database_url))

        yield open_one


@pytest.fixture
def scene(stage: Callable[..., Scene]) -> Scene:
    return stage()
