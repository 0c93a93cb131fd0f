"""The sequences that come with Relance: one YAML file each in templates/sequences/."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

from state.policy import Sequence, SequenceKind, Step

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
SEQUENCES = TEMPLATES / "sequences"


def shipped_sequence_names() -> set[str]:
    return {file.stem for file in SEQUENCES.glob("*.yaml")}


@lru_cache(maxsize=1)
def shipped_sequences() -> dict[str, Sequence]:
    """Every shipped sequence by name."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for file in sorted(SEQUENCES.glob("*.yaml")):
        loaded = yaml.load(file.read_bytes(), Loader=loader)
        steps = tuple(Step(**step) for step in loaded["steps"])
        found[file.stem] = Sequence(file.stem, SequenceKind(loaded["kind"]), steps)
    return found


def read_step_template(name: str) -> str:
    """The text of a step's `template` file. Raises OSError for one that does not lie in templates/sequences/."""
    file = (SEQUENCES / name).resolve()
    if not file.is_relative_to(SEQUENCES.resolve()):
        raise FileNotFoundError(name)
    return file.read_text(encoding="utf-8")
