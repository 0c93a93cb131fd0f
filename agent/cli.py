"""`relance`, the command. Heavy imports stand in the commands that need them: most commands must start at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from agent import clock

EX_DATAERR = 65  # sysexits.h
EX_NOUSER = 67
EX_TEMPFAIL = 75


class Moment(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return clock.parse_time(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-03-02T09:00:00+01:00", param, ctx)


def _print(value: object) -> None:
    import json

    click.echo(json.dumps(value, ensure_ascii=False))


def _log_to_stderr() -> None:
    """Warnings and errors as lines; commands that write no log do not pay for it."""
    from agent.logs import configure_logging

    configure_logging()


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file (default config.yaml)."
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Relance follows up on mails to leads until they answer."""


@cli.command()
@config_option
@click.option("--role", default="listener,worker,scheduler,web,mailboxes", help="Roles of this process, by comma.")
def run(config: Path | None, role: str) -> None:
    """Run the assistant; SIGTERM drains and loses nothing."""
    from agent.running import ROLES, run_roles

    roles = frozenset(part.strip() for part in role.split(",") if part.strip())
    if unknown := roles - ROLES:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: roles are {', '.join(sorted(ROLES))}")
    sys.exit(run_roles(config, roles))


@cli.command()
@config_option
@click.option("--mail-from", required=True, help="Envelope sender; empty for a delivery report.")
@click.option("--rcpt", required=True, multiple=True, help="Envelope recipient; may be repeated.")
@click.option("--at", type=Moment(), help="The time at which the message comes (default: now).")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def receive(
    config: Path | None, mail_from: str, rcpt: tuple[str, ...], at: datetime | None, files: tuple[Path, ...]
) -> None:
    """Take messages from stdin or FILES as if they had come by SMTP. A pipe transport for Postfix or Exim."""
    from agent.opening import open_context
    from agent.receiving import receive_messages

    _log_to_stderr()
    contents = [file.read_bytes() for file in files] if files else [sys.stdin.buffer.read()]
    with _available(), open_context(config) as context:
        sys.exit(receive_messages(context, contents, mail_from, rcpt, at or clock.now()))


@cli.command()
@config_option
@click.option("--now", type=Moment(), help="The time that this pass takes for the present.")
def tick(config: Path | None, now: datetime | None) -> None:
    """One pass of everything that time makes due."""
    from agent import dispatch
    from agent.opening import open_context
    from agent.views import report_view

    _log_to_stderr()
    moment = now or clock.now()
    with _available(), open_context(config) as context:
        _print(report_view(moment, dispatch.tick(context, moment)))


@cli.command()
@config_option
@click.option("--mail-from", default=None, help="Envelope sender (default: the author).")
@click.option("--rcpt", multiple=True, help="Envelope recipient (default: those in To and Cc).")
@click.option("--at", type=Moment(), help="The time to explain for (default: the message's Date).")
@click.argument("files", nargs=-1, required=True)
def explain(
    config: Path | None,
    mail_from: str | None,
    rcpt: tuple[str, ...],
    at: datetime | None,
    files: tuple[str, ...],
) -> None:
    """Say what each message is and what would be done with it; changes nothing."""
    from agent.explain import Assumed, explain_file, open_for_explaining

    with _available(), open_for_explaining(config) as context:
        for file in files:
            for view in explain_file(context, file, Assumed(mail_from, rcpt, at)):
                _print(view)


@cli.group()
def lead() -> None:
    """Look at leads."""


@lead.command("list")
@config_option
@click.option("--state", help="Only leads that show this state.")
@click.option("--owner", help="Only leads of this user.")
@click.option("--assistant", help="Only leads of this assistant.")
@click.option("--at-risk", is_flag=True, help="Only leads at risk.")
@click.option("--as", "as_user", help="What this user may see.")
def lead_list(
    config: Path | None, state: str | None, owner: str | None, assistant: str | None, at_risk: bool, as_user: str | None
) -> None:
    """The leads, one JSON object a line."""
    from agent.looking import Filter, list_leads
    from agent.opening import open_context

    with _available(), open_context(config) as context:
        for view in list_leads(context, Filter(state, owner, assistant, at_risk, as_user)):
            _print(view)


@lead.command("show")
@config_option
@click.argument("address")
@click.option("--as", "as_user", help="What this user may see.")
def lead_show(config: Path | None, address: str, as_user: str | None) -> None:
    """One lead with its history; exit 1 when there is none (or none that USER may see)."""
    from agent.looking import show_lead
    from agent.opening import open_context

    with _available(), open_context(config) as context:
        view = show_lead(context, address, as_user)
    if view is None:
        sys.exit(1)
    _print(view)


@cli.command()
@config_option
def rules(config: Path | None) -> None:
    """The rule table in order, with where each rule comes from."""
    from agent.opening import read_settings
    from mailflow.rules import rules_listing

    for entry in rules_listing(read_settings(config).rule_table()):
        _print(entry)


@cli.command()
@config_option
def check(config: Path | None) -> None:
    """Look for everything that is wrong with the set-up, all at once; exit 1 when something is."""
    from agent.checking import check_all
    from agent.opening import read_settings

    faults = check_all(read_settings(config))
    for fault in faults:
        click.echo(f"{fault.key}: {fault.message}", err=True)
    if faults:
        sys.exit(1)
    click.echo("Everything that can be checked from here is right.", err=True)


@cli.group()
def quarantine() -> None:
    """Messages that were held back or failed."""


@quarantine.command("list")
@config_option
def quarantine_list(config: Path | None) -> None:
    """Held and failed messages, one JSON object a line."""
    from agent.held import list_held
    from agent.opening import open_context

    with _available(), open_context(config) as context:
        for view in list_held(context):
            _print(view)


@quarantine.command("show")
@config_option
@click.argument("id", type=int)
def quarantine_show(config: Path | None, id: int) -> None:
    """The message itself, as it came; exit 1 when there is none."""
    from agent.held import show_held
    from agent.opening import open_context

    with _available(), open_context(config) as context:
        content = show_held(context, id)
    if content is None:
        sys.exit(1)
    sys.stdout.buffer.write(content)


@quarantine.command("replay")
@config_option
@click.argument("id", type=int)
def quarantine_replay(config: Path | None, id: int) -> None:
    """Process the message again; exit 1 when there is none or it fails again."""
    from agent.held import replay_held
    from agent.opening import open_context

    _log_to_stderr()
    with _available(), open_context(config) as context:
        sys.exit(0 if replay_held(context, id, clock.now()) else 1)


@quarantine.command("drop")
@config_option
@click.argument("id", type=int)
def quarantine_drop(config: Path | None, id: int) -> None:
    """Give the message up for good; exit 1 when there is none."""
    from agent.held import drop_held
    from agent.opening import open_context

    with _available(), open_context(config) as context:
        sys.exit(0 if drop_held(context, id, clock.now()) else 1)


@cli.command()
@config_option
def migrate(config: Path | None) -> None:
    """Bring the database to this version."""
    from agent.opening import open_store, read_settings

    with _available():
        store = open_store(read_settings(config))
        store.migrate()
        store.close()


@cli.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(config: Path | None, file: Path) -> None:
    """Write the whole database into FILE, while Relance may be running."""
    from agent.opening import open_store, read_settings

    with _available():
        store = open_store(read_settings(config))
        store.backup(file)
        store.close()


@cli.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def restore(config: Path | None, file: Path) -> None:
    """Put the database back as FILE has it. Stop Relance first."""
    from agent.opening import open_store, read_settings

    with _available():
        store = open_store(read_settings(config))
        store.restore(file)
        store.close()


class _available:
    """A database that is away ends a command with one line and 75 (try later), not with a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        from state.store.engine import StoreUnavailable

        if isinstance(fault, StoreUnavailable):
            click.echo(f"database.url: {fault}", err=True)
            sys.exit(EX_TEMPFAIL)


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
