"""CPU seconds of `relance lead show`, beside a bare interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measure import Row
from tests.flow.scene import acme
from tests.running import RELANCE, relance, write_config

ROUNDS = 15
LIMIT = 0.4


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_config(directory, acme())
        relance(directory, "lead", "list")  # the database is made
        bare, ours = [], []
        for _ in range(ROUNDS):
            bare.append(_cpu([sys.executable, "-c", "pass"], directory))
            ours.append(_cpu([RELANCE, "lead", "show", "priya@northwind.example"], directory))
    a, b = median(bare), median(ours)
    return [Row("start of `lead show`, CPU", "python -c pass", f"{a:.3f} s", f"{b:.3f} s", b, "< 0.4 s", b < LIMIT)]


def _cpu(command: list[str], directory: Path) -> float:
    before = os.times()
    subprocess.run(command, cwd=directory, check=False, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
