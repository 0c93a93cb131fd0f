"""`make bench`: every row, peer and product in turn. Names as arguments choose rows: `python -m benchmarks parse due`."""

from __future__ import annotations

import importlib
import sys

from benchmarks.measure import HEAD, Row, line

MODULES = ("parse", "start", "intake", "dispatch", "due")


def main() -> None:
    chosen = sys.argv[1:] or MODULES
    found: list[Row] = []
    print(HEAD)
    for name in chosen:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            found.append(row)
            print(line(row), flush=True)
    sys.exit(0 if all(row.met for row in found) else 1)


if __name__ == "__main__":
    main()
