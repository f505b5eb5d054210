"""Every command of ``sallyport`` in this process: refusals first, then what it does."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import GROUPS, groups_for, main, make_app
from bundleformat.trust import fingerprint
from tests.support.real_host import RealHost, commission


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> RealHost:
    """A commissioned host with one model, one key and one site certificate."""
    return commission(
        tmp_path_factory.mktemp("cli"),
        models=[("demo", demo_model)],
        policies=[("site", SITE_POLICY)],
    )


SITE_POLICY = b"""
@id("site-no-health-data")
@reason("health data is not processed here")
forbid (principal, action, resource)
when { context.data_classes.contains("phi") };
"""


class Shell:
    """Runs commands on one home and keeps what they printed."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        self._capsys.readouterr()
        status = main(["--home", str(self._home), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return status

    def json(self, *arguments: str) -> Any:
        assert self.run(*arguments, "--json") == 0, self.err
        return json.loads(self.out)

    def refusal(self, *arguments: str) -> tuple[int, str]:
        """The exit status and code of a command that must not succeed."""
        status = self.run(*arguments, "--json")
        assert self.out == ""
        return status, json.loads(self.err.splitlines()[-1])["error"]["code"]


@pytest.fixture
def shell(host: RealHost, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(host.home, capsys)


@pytest.fixture
def bare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A home that was never commissioned."""
    return Shell(tmp_path / "bare", capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ("trust", "show"),
        ("site", "show"),
        ("bundle", "inspect", "."),
        ("model", "list"),
        ("key", "list"),
        ("team", "list"),
        ("serve", "--port", "0"),
        ("audit", "status"),
        ("db", "upgrade"),
    ],
    ids=" ".join,
)
def test_a_host_that_was_never_commissioned_says_so(
    bare: Shell, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    status = bare.run(*arguments)
    assert (status, bare.out) == (4, "")
    assert "host-not-ready" in bare.err
    assert "run: sallyport trust init" in bare.err
    assert not (tmp_path / "bare").exists()


def test_another_fingerprint_is_refused_and_makes_nothing(
    bare: Shell, host: RealHost, tmp_path: Path
) -> None:
    root = host.bundle.folder / "metadata" / "1.root.json"
    wrong = "0" * 64
    init = ("trust", "init", "--root", str(root), "--fingerprint", wrong)
    assert bare.refusal(*init) == (3, "signature-invalid")
    assert not (tmp_path / "bare").exists()


def test_a_root_file_that_is_not_there_is_refused(bare: Shell, tmp_path: Path) -> None:
    init = ("trust", "init", "--root", str(tmp_path / "none"), "--fingerprint", "0")
    assert bare.refusal(*init) == (3, "missing")


def test_trust_begins_once(bare: Shell, host: RealHost) -> None:
    root = host.bundle.folder / "metadata" / "1.root.json"
    spaced = " ".join(fingerprint(root.read_bytes())).upper()
    init = ("trust", "init", "--root", str(root), "--fingerprint", spaced)
    made = bare.json(*init)
    assert made["channel"] == "main"
    assert bare.refusal(*init) == (3, "conflict")
    shown = bare.json("trust", "show")
    assert shown["channels"][0]["newest_bundle"] == 0
    assert bare.json("audit", "key")["vkey"] == made["ledger_vkey"]
    assert bare.refusal("site", "show") == (3, "missing")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("trust", "init"),
        ("key", "create"),
        ("key", "create", "--team", "Not A Team"),
        ("key", "create", "--team", "claims", "--expires", "forever"),
        ("key", "create", "--team", "claims", "--expires", "400d"),
        ("team", "set", "claims", "--clearance", "no-such-class"),
        ("team", "set", "claims"),
        ("team", "set", "claims", "--running", "0"),
        ("team", "set", "claims", "--tokens-per-day", "many"),
        ("team", "set", "claims", "--weight", "101"),
        ("team", "set", "claims", "--priority", "urgent"),
        ("serve", "--port", "many"),
        ("serve", "--port", "99999"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_a_usage_error(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    assert shell.refusal(*arguments) == (2, "usage")


def test_called_with_nothing_it_shows_its_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "trust init, site install, bundle import" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        (("bundle", "import", "/media"), ["bundle"]),
        (("--home", "model", "key", "create"), ["model", "key"]),
        (("serve", "--port", "0"), []),
        ((), list(GROUPS)),
        (("--help",), list(GROUPS)),
        (("bundel", "import"), list(GROUPS)),
    ],
)
def test_only_the_groups_that_a_command_can_be_of_are_loaded(
    given: tuple[str, ...], groups: list[str]
) -> None:
    assert list(groups_for(given)) == groups


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_command_shows_its_help(shell: Shell, group: str) -> None:
    assert shell.run(group) == 2
    assert "Usage: sallyport" in shell.err


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_explains_itself(shell: Shell, group: str) -> None:
    assert shell.run(group, "--help") == 0
    (made,) = make_app((group,)).registered_groups
    assert made.typer_instance is not None
    for command in made.typer_instance.registered_commands:
        name = str(command.name or getattr(command.callback, "__name__", ""))
        assert shell.run(group, name, "--help") == 0
        assert len(shell.out) > 100


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("site", "install", "no-such-file"), "missing"),
        (("bundle", "verify", "no-such-folder"), "missing"),
        (("bundle", "import", "no-such-folder"), "missing"),
        (("key", "revoke", "no-such-key"), "missing"),
        (("team", "set", "no-such-team", "--clearance", "pii"), "missing"),
        (("team", "show", "no-such-team"), "missing"),
        (("audit", "verify", "no-such-folder", "--key", "x"), "missing"),
    ],
)
def test_what_is_not_there_is_refused(
    shell: Shell, arguments: tuple[str, ...], code: str
) -> None:
    assert shell.refusal(*arguments) == (3, code)


def test_a_site_certificate_that_is_not_one_is_refused(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "site.json").write_bytes(b"{}")
    assert shell.refusal("site", "install", str(tmp_path / "site.json"))[0] == 3
    error = json.loads(shell.err.splitlines()[-1])["error"]
    assert error["where"].startswith(str(tmp_path / "site.json"))
    assert error["hint"]


def test_keys_are_created_listed_and_revoked(shell: Shell, host: RealHost) -> None:
    created = shell.json("key", "create", "--team", "billing", "--name", "for a test")
    assert created["key"].startswith("spk_")
    listed = shell.json("key", "list")["keys"]
    (entry,) = [key for key in listed if key["key_id"] == created["key_id"]]
    assert (entry["team"], entry["revoked"]) == ("billing", None)
    assert created["key"] not in shell.out
    revoked = shell.json("key", "revoke", created["key_id"])
    assert revoked["revoked"]
    again = shell.json("key", "revoke", created["key_id"])
    assert again["revoked"] == revoked["revoked"]
    events = [record["event"] for record in host.records()]
    assert events[-3:] == ["team.created", "apikey.created", "apikey.revoked"]


def test_the_key_is_the_only_thing_on_stdout(shell: Shell) -> None:
    assert shell.run("key", "create", "--team", "claims") == 0
    assert shell.out.startswith("spk_")
    assert shell.out.count("\n") == 1


def test_teams_are_set_and_listed(shell: Shell, host: RealHost) -> None:
    shell.json("key", "create", "--team", "cleared")
    changed = shell.json("team", "set", "cleared", "--clearance", "pii")
    assert changed["clearance"] == "pii"
    assert changed in shell.json("team", "list")["teams"]
    stricter = ("--clearance", "phi", "--default-class", "pii")
    shell.json("team", "set", "cleared", *stricter)
    kept = shell.json("team", "set", "cleared", "--clearance", "secret")
    assert kept["default_class"] == "pii"
    assert host.records()[-1]["event"] == "team.changed"


def test_a_teams_limits_are_set_shown_and_given_back(
    shell: Shell, host: RealHost
) -> None:
    shell.json("key", "create", "--team", "busy")
    before = shell.json("team", "show", "busy")
    assert (before["own"], before["weight"], before["priority"]) == (
        [],
        1,
        "interactive",
    )
    options = ("--tokens-per-minute", "500", "--weight", "3", "--priority", "batch")
    changed = shell.json("team", "set", "busy", *options)
    assert changed["own"] == ["priority", "tokens_per_minute", "weight"]
    assert (changed["tokens_per_minute"], changed["weight"]) == (500, 3)
    assert changed == shell.json("team", "show", "busy")
    assert changed in shell.json("team", "list")["teams"]
    assert host.records()[-1]["terms"] == {
        "tokens_per_minute": 500,
        "weight": 3,
        "priority": "batch",
    }
    given_back = shell.json(
        "team", "set", "busy", "--weight", "default", "--running", "default"
    )
    assert given_back["own"] == ["priority", "tokens_per_minute"]
    assert given_back["clearance"] == before["clearance"]
    assert "weight" not in host.records()[-1]["terms"]


def test_what_is_on_the_medium_and_what_is_active_can_be_seen(
    shell: Shell, host: RealHost
) -> None:
    medium = str(host.bundle.folder)
    before = len(host.records())
    for command in ("inspect", "verify"):
        seen = shell.json("bundle", command, medium)
        assert [artifact["name"] for artifact in seen["artifacts"]] == ["demo", "site"]
    plan = shell.json("bundle", "import", medium, "--dry-run")
    assert plan["already_active"] is True
    assert shell.json("model", "list")["models"][0]["name"] == "demo"
    assert shell.json("trust", "show")["channels"][0]["newest_bundle"] == 1
    assert shell.json("site", "show")["region"] == "in-blr"
    assert len(host.records()) == before


def test_the_ledger_can_be_looked_at_exported_and_verified(
    shell: Shell, tmp_path: Path
) -> None:
    key = shell.json("audit", "key")["vkey"]
    status = shell.json("audit", "status")
    assert status["vkey"] == key
    assert shell.json("audit", "fsck")["records"] == status["size"]
    assert shell.json("audit", "checkpoint")["checkpoint"].startswith(key.split("+")[0])
    folder = str(tmp_path / "export")
    exported = shell.json("audit", "export", "--out", folder)
    assert exported["size"] == status["size"] + 1
    assert shell.json("audit", "verify", folder, "--key", key)["proved"]
    assert shell.refusal("audit", "export", "--out", folder) == (3, "conflict")


@pytest.mark.parametrize(
    "arguments",
    [
        ("trust", "show"),
        ("site", "show"),
        ("model", "list"),
        ("key", "list"),
        ("team", "list"),
        ("audit", "status"),
        ("audit", "key"),
        ("audit", "checkpoint"),
        ("audit", "fsck"),
        ("db", "upgrade"),
    ],
    ids=" ".join,
)
def test_output_for_reading_is_not_json(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    assert shell.run(*arguments) == 0
    assert shell.out
    assert not shell.out.startswith("{")


def test_settings_with_a_mistake_name_it(shell: Shell, host: RealHost) -> None:
    settings = host.home / "sallyport.toml"
    before = settings.read_bytes()
    settings.write_text("[engine]\ncels = 4\n")
    try:
        status = shell.run("audit", "status")
    finally:
        settings.write_bytes(before)
    assert status == 3
    assert "engine.cels" in shell.err
    assert "hint:" in shell.err


def test_the_version_is_shown(shell: Shell) -> None:
    assert shell.run("--version") == 0
    assert shell.out.startswith("sallyport 0.")
