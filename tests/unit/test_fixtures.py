"""Whole messages as clients and servers write them, each with what `relance explain` must say of it.

A key that a `.yml` leaves out is not compared; of `bounces` only the keys that are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.explain import Assumed, explain
from tests.flow.scene import Scene, acme, open_scene

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MESSAGES = sorted(FIXTURES.rglob("*.eml"))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from open_scene(tmp_path_factory.mktemp("office"), acme())


def test_every_message_has_its_expectation() -> None:
    assert MESSAGES
    assert {file.with_suffix("") for file in MESSAGES} == {file.with_suffix("") for file in FIXTURES.rglob("*.yml")}


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: str(file.relative_to(FIXTURES)))
def test_a_message_is_understood(office: Scene, file: Path) -> None:
    expected: dict[str, Any] = yaml.safe_load(file.with_suffix(".yml").read_text(encoding="utf-8"))
    for content in (file.read_bytes(), file.read_bytes().replace(b"\n", b"\r\n")):
        found = explain(office.context, content, file.name, Assumed())
        assert {key: _comparable(key, found[key], expected[key]) for key in expected} == expected


def _comparable(key: str, found: Any, expected: Any) -> Any:
    match key:
        case "reply_text":
            return " ".join(found.split())
        case "bounces":
            return [{k: bounce[k] for k in wanted} for bounce, wanted in zip(found, expected, strict=True)]
    return found
