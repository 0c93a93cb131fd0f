"""A configuration: everything that is wrong with it at once, and what stands for what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import Settings, load_settings
from tests.flow.scene import acme


def load(directory: Path, text: str | dict[str, Any], **environ: str) -> Settings | dict[str, str]:
    file = directory / "config.yaml"
    file.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
    found = load_settings(file, environ)
    return found if isinstance(found, Settings) else {error.key: error.message for error in found}


def test_nothing_at_all_is_a_configuration_that_works(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert isinstance(settings, Settings)
    assert settings.database.url == f"sqlite:///{tmp_path}/var/relance.db"
    assert settings.listener.max_size == 35_000_000
    assert settings.secret() == settings.secret() and (tmp_path / "var/secret").stat().st_mode & 0o777 == 0o600


def test_the_shipped_configuration_is_right() -> None:
    assert isinstance(load_settings(Path(__file__).parents[2] / "config.yaml", {}), Settings)


def test_every_error_at_once(tmp_path: Path) -> None:
    configuration = acme(preferences={"business_hours": "9-5", "off_days": ["noday"], "confidence": 2})
    second = {"name": "B", "domains": ["b.example"], "assistants": [{"name": "X", "address": "x@b.example", "users": ["q@b.example"], "preferences": {"default_sequence": "none such"}}]}  # fmt: skip
    configuration["organisations"].append(second)
    found = load(tmp_path, {**configuration, "colour": 1, "listener": {"smtp": "nowhere"}, "database": {"url": "${NOPE}"}, "rules": [{"name": "a", "do": "explode"}]})  # fmt: skip
    assert isinstance(found, dict)
    own = "organisations.0.assistants.0.preferences"
    assert found.keys() == {
        f"{own}.business_hours", f"{own}.off_days", f"{own}.confidence", "colour", "listener.smtp", "database.url", "rules.0.do",
        "organisations.1.assistants.0.users.0", "organisations.1.assistants.0.preferences.default_sequence",
    }  # fmt: skip
    assert found["database.url"] == "the environment has no NOPE"


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    smtp = {"host": "relay.example", "username": "${USER_NAME}", "password": "file:password"}
    settings = load(tmp_path, {"outgoing": {"smtp": smtp}}, USER_NAME="asha", RELANCE_WEB__LISTEN="127.0.0.1:9000")
    assert isinstance(settings, Settings) and settings.outgoing.smtp is not None
    assert (settings.outgoing.smtp.username, settings.outgoing.smtp.password) == ("asha", "hunter2")
    assert settings.web.listen == ("127.0.0.1", 9000)


def test_an_address_belongs_to_one_only(tmp_path: Path) -> None:
    configuration = acme()
    configuration["organisations"][0]["assistants"][0]["aliases"] = ["uma@acme.example"]
    found = load(tmp_path, configuration)
    assert isinstance(found, dict) and found.keys() == {"organisations.0.assistants.0.aliases.0"}


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00", "organisations: 3"])
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str) -> None:
    assert isinstance(load(tmp_path, text), dict)
