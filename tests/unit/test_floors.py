"""The three floors, and which code may touch the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("state", "mailflow", "agent")
IMPURE = (
    "state/store/", "mailflow/transport/", "mailflow/sequences.py", "mailflow/render.py",
)  # fmt: skip
WORLD = frozenset(
    [
        "socket",
        "smtplib",
        "ssl",
        "asyncio",
        "subprocess",
        "threading",
        "requests",
        "httpx",
        "sqlalchemy",
        "sqlite3",
        "psycopg",
        "redis",
        "random",
        "os",
        "time",
        "pathlib",
        "shutil",
    ]
)
FILES = sorted(file for floor in FLOORS for file in (ROOT / floor).rglob("*.py") if "versions" not in file.parts)


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_down_only(file: Path) -> None:
    floor = name_of(file).partition("/")[0]
    above = FLOORS[FLOORS.index(floor) + 1 :]
    assert not [name for name in imports(file) if name.partition(".")[0] in above]


@pytest.mark.parametrize("file", [f for f in FILES if name_of(f).startswith(("state/", "mailflow/"))], ids=name_of)
def test_pure_modules_do_not_touch_the_world(file: Path) -> None:
    if name_of(file).startswith(IMPURE):
        return
    assert not [name for name in imports(file) if name.partition(".")[0] in WORLD]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_clock_reads_the_time(file: Path) -> None:
    if name_of(file) in ("agent/clock.py", "mailflow/transport/listener.py"):
        return
    calls = [
        node.func.attr
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert not {"utcnow", "today", "monotonic", "perf_counter"} & set(calls)
    text = file.read_text(encoding="utf-8")
    assert "datetime.now(" not in text


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_but_definitions_happens_at_import(file: Path) -> None:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        is_main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        is_migration = "migrations/env.py" in name_of(file)
        assert is_main or is_migration or not isinstance(node, ast.For | ast.While | ast.With | ast.Try)
