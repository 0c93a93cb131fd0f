"""Side by side: peer and product in turn, medians over rounds, and the ratio between them.

The machine drifts by a factor of two, so a figure alone says little; only ratios of one run count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `ratio` is how many times better than the peer (or, for limits, the figure itself)."""

    what: str
    peer: str
    peer_figure: str
    our_figure: str
    ratio: float
    target: str
    met: bool


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(peer: Callable[[], float], ours: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Medians of both, measured in turn so that a slow minute of the machine meets both."""
    peers, own = [], []
    for _ in range(rounds):
        peers.append(peer())
        own.append(ours())
    return statistics.median(peers), statistics.median(own)


HEAD = "| what | peer | peer's figure | ours | ratio | target | met |\n|---|---|---|---|---|---|---|"


def line(r: Row) -> str:
    """The row in a Markdown table."""
    met = "yes" if r.met else "NO"
    return f"| {r.what} | {r.peer} | {r.peer_figure} | {r.our_figure} | {r.ratio:.2f} | {r.target} | {met} |"
