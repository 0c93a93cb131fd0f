"""The routing table: which rule a message meets, and what is to be done then. The table itself is configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailflow.conditions import BadCondition, Test, compile_when
from mailflow.situation import Situation

DISPOSITIONS = frozenset({"drop", "hold", "quarantine"})
PLAIN_ACTIONS = frozenset(
    [
        "add_copied",
        "add_forwarded",
        "add_campaign",
        "add_referral",
        "import_file",
        "run_commands",
        "confirm_sender",
        "refuse_unassigned",
        "record_reply",
        "record_auto_response",
        "record_bounce",
        "record_complaint",
        "record_calendar",
        "record_owner_reply",
        "unsubscribe",
        "stop_follow_ups",
        "forward_to_owner",
    ]
)
ACTIONS_WITH_ARGUMENT = frozenset(
    {"tag", "untag", "note", "notify", "whatsapp", "set_state", "set_sequence", "set_owner", "classify_as"}
)
NO_RULE = "no-rule"  # what a message meets that no rule of a custom table is for


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    argument: object = None
    rule: str = ""  # the rule that asked for it


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    test: Test
    actions: tuple[Action, ...]
    goes_on: bool
    source: str  # where it stands: config.yaml rules.3, shipped
    definition: Mapping[str, Any]
    unconditional: bool


@dataclass(frozen=True, slots=True)
class RuleTable:
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class RuleError:
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Tried:
    rule: str
    hit: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """`disposition`: apply, drop, hold or quarantine."""

    rule: str
    disposition: str
    actions: tuple[Action, ...]
    tried: tuple[Tried, ...]


def route(table: RuleTable, situation: Situation) -> Decision:
    """The first rule that matches decides; those that say `continue` add their actions before it."""
    actions: list[Action] = []
    tried: list[Tried] = []
    for rule in table.rules:
        hit = rule.test(situation)
        tried.append(Tried(rule.name, hit))
        if hit:
            actions.extend(rule.actions)
            if not rule.goes_on:
                return Decision(rule.name, _disposition(actions), tuple(actions), tuple(tried))
    # What nobody has thought of is kept and shown to a person.
    return Decision(NO_RULE, "hold", tuple(actions), tuple(tried))


def _disposition(actions: Sequence[Action]) -> str:
    return next((action.name for action in actions if action.name in DISPOSITIONS), "apply")


def load_table(entries: object, shipped: object) -> RuleTable | list[RuleError]:
    """The table of a configuration. `entries` None: the shipped one alone. All errors at once, each with its path."""
    errors: list[RuleError] = []
    rules = _read(shipped, "shipped", None, errors) if entries is None else _read(entries, "rules", shipped, errors)
    names: set[str] = set()
    end: str | None = None
    for rule in rules:
        if rule.name in names:
            errors.append(RuleError(rule.source, f"the name {rule.name!r} is taken by a rule above"))
        elif end is not None:
            errors.append(RuleError(rule.source, f"{rule.name!r} can't be reached: {end!r} above takes every message"))
        names.add(rule.name)
        if rule.unconditional and not rule.goes_on and end is None:
            end = rule.name
    return errors or RuleTable(tuple(rules))


def _read(entries: object, key: str, shipped: object, errors: list[RuleError]) -> list[Rule]:
    if not isinstance(entries, list):
        errors.append(RuleError(key, "is a list of rules"))
        return []
    rules: list[Rule] = []
    for position, entry in enumerate(entries):
        path = f"{key}.{position}"
        if entry == {"include": "shipped"} and shipped is not None:
            rules.extend(_read(shipped, "shipped", None, errors))
        elif rule := _read_rule(entry, path, errors):
            rules.append(rule)
    return rules


def _read_rule(entry: object, path: str, errors: list[RuleError]) -> Rule | None:
    if not isinstance(entry, Mapping):
        errors.append(RuleError(path, "a rule has the keys name, when and do"))
        return None
    before = len(errors)
    for unknown in entry.keys() - {"name", "when", "do", "continue"}:
        errors.append(RuleError(f"{path}.{unknown}", "there is no such key in a rule"))
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        errors.append(RuleError(f"{path}.name", "a rule needs a name"))
    goes_on = entry.get("continue", False)
    if not isinstance(goes_on, bool):
        errors.append(RuleError(f"{path}.continue", "is true or false"))
    when = entry.get("when", {})
    test: Test | None = None
    try:
        test = compile_when({} if when is None else when, f"{path}.when")
    except BadCondition as fault:
        errors.append(RuleError(fault.key, str(fault)))
    actions = _read_actions(entry.get("do"), str(name), path, errors)
    if len(errors) > before or test is None:
        return None
    return Rule(str(name), test, actions, bool(goes_on), path, entry, not when)


def _read_actions(do: object, rule: str, path: str, errors: list[RuleError]) -> tuple[Action, ...]:
    listed = do if isinstance(do, list) else [do]
    if do is None or not listed:
        errors.append(RuleError(f"{path}.do", "a rule needs at least one action"))
        return ()
    actions = []
    for position, item in enumerate(listed):
        key = f"{path}.do.{position}" if isinstance(do, list) else f"{path}.do"
        if isinstance(item, Mapping) and len(item) == 1:
            [(name, argument)] = item.items()
            if name not in ACTIONS_WITH_ARGUMENT:
                errors.append(RuleError(key, f"there is no action {name!r} with an argument"))
            elif argument is None or isinstance(argument, Mapping | list):
                errors.append(RuleError(key, f"{name} takes one value"))
            else:
                actions.append(Action(str(name), argument, rule))
        elif isinstance(item, str) and item in DISPOSITIONS | PLAIN_ACTIONS:
            actions.append(Action(item, None, rule))
        else:
            errors.append(RuleError(key, f"there is no action {item!r}"))
    return tuple(actions)


def rules_listing(table: RuleTable) -> list[dict[str, Any]]:
    """The table in order, for `relance rules`."""
    return [
        {
            "position": position,
            "rule": rule.name,
            "from": "shipped" if rule.source.startswith("shipped") else rule.source,
            "when": rule.definition.get("when", {}) or {},
            "do": rule.definition["do"] if isinstance(rule.definition["do"], list) else [rule.definition["do"]],
            "continue": rule.goes_on,
        }
        for position, rule in enumerate(table.rules, 1)
    ]
