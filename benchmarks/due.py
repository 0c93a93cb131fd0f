"""Find and claim a hundred due leads among ten thousand and among a million: the index must not care.

SQLite and PostgreSQL; on PostgreSQL also beside a long-open snapshot.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import insert

from benchmarks.measure import Row
from state.definition import OrganisationDefinition
from state.lead import Enrolment, Lead, LeadSource, LeadState, NameSource, SubState
from state.store import leads, organisations
from state.store.codec import lead_to_row
from state.store.engine import Store
from state.store.schema import leads as table
from tests import servers

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FEW, MANY, DUE = 10_000, 1_000_000, 6_000
ROUNDS = 25


def rows() -> list[Row]:
    found = []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        place = Path(directory)
        found += _compare("SQLite", Store(f"sqlite:///{place}/few.db"), Store(f"sqlite:///{place}/many.db"), False)
        if servers.postgresql_bin() is not None:
            url = stack.enter_context(servers.postgresql(place))
            few, many = (_postgresql(url, name) for name in ("few", "many"))
            found += _compare("PostgreSQL", few, many, True)
    return found


def _postgresql(url: str, name: str) -> Store:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return Store(f"{url.rpartition('/')[0]}/{name}")


def _compare(name: str, few: Store, many: Store, with_snapshot: bool) -> list[Row]:
    _fill(few, FEW)
    _fill(many, MANY)
    found = []
    for what, measure, target in (("select", _select, 1.3), ("claim", _claim, 1.5)):
        found.append(_row(f"due leads, {what} 100, {name}", few, many, measure, target))
    if with_snapshot:
        with _old_snapshot(many), _old_snapshot(few):
            found.append(_row(f"due leads, claim 100, {name}, old snapshot open", few, many, _claim, 1.5))
    few.close()
    many.close()
    return found


def _row(what: str, few: Store, many: Store, measure: object, target: float) -> Row:
    assert callable(measure)
    small, large = [], []
    for _ in range(ROUNDS):
        small.append(measure(few))
        large.append(measure(many))
    a, b = median(small), median(large)
    return Row(
        what, "10,000 leads", f"{a * 1e3:.2f} ms", f"1M: {b * 1e3:.2f} ms", b / a, f"≤ {target}", b / a <= target
    )


def _select(store: Store) -> float:
    with store.read() as tx:
        start = time.perf_counter()
        ids = leads.find_due(tx, NOW, 100)
        took = time.perf_counter() - start
    assert len(ids) == 100
    return took


def _claim(store: Store) -> float:
    """Claimed, moved on by a day and committed; there are more due than all rounds claim."""
    from dataclasses import replace

    start = time.perf_counter()
    with store.write() as tx:
        claimed = leads.claim_due(tx, NOW, 100)
        later = [replace(lead, enrolment=replace(lead.enrolment, next_at=NOW + timedelta(days=1))) for lead in claimed if lead.enrolment]  # fmt: skip
        leads.save_many(tx, later)
    took = time.perf_counter() - start
    assert len(claimed) == 100
    return took


def _fill(store: Store, count: int) -> None:
    store.migrate()
    with store.write() as tx:
        organisations.create_missing(tx, [OrganisationDefinition("Acme", ("acme.example",))])
    step = 20_000
    for start in range(0, count, step):
        with store.write() as tx:
            tx.execute(insert(table), [{**lead_to_row(_lead(n, count)), "version": 1} for n in range(start, start + step if start + step <= count else count)])  # fmt: skip
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _lead(number: int, count: int) -> Lead:
    is_due = number % (count // DUE) == 0
    due = NOW - timedelta(minutes=number % 600) if is_due else NOW + timedelta(hours=1 + number % 5_000)
    return Lead(
        id=0, organisation_id=1, owner_id=1, assistant_id=1, address=f"lead{number}@northwind.example",
        first="Priya", last="Raman", name_source=NameSource.DISPLAY_NAME, source=LeadSource.CC, created_at=NOW,
        state=LeadState.COLD, sub_state=SubState.FOLLOWUP,
        enrolment=Enrolment(1, "recommended-cc", 1, NOW, due),
    )  # fmt: skip


@contextmanager
def _old_snapshot(store: Store) -> Iterator[None]:
    with store.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql("SELECT count(*) FROM meta")
        yield
