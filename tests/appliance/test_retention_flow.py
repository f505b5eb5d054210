"""How long a host keeps its records is said by a certificate, and done on record."""

import datetime as dt
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from appliance.admin_flow import install_site
from appliance.body_finish_flow import find_unfinished
from appliance.body_flow import opened_vault
from appliance.body_read_flow import ask_to_read
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.errors import BodyPrunedError
from appliance.hold_flow import Wanted, place_hold
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.log.captured import read_captured
from appliance.ledger.retention.pruning import prune_batch
from appliance.retention_flow import _order, plan_retention, run_retention
from bundleformat.errors import ExpiredError
from bundleformat.retention import Kept, Retention
from bundleformat.site_certificate import SiteCertificate, issue
from bundleformat.trust import fingerprint
from tests.support.clocks import SteppingClock
from tests.support.kept_bodies import keep_call
from tests.support.killing import die, in_child
from tests.support.ledgers import refusal, request, response
from tests.support.publisher import Keys, make_root, new_keys

NOW = SystemClock().now().replace(microsecond=0)
LONG_AGO = NOW - dt.timedelta(days=400)
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def keys() -> Keys:
    return new_keys()


@pytest.fixture
def home(tmp_path: Path, keys: Keys) -> Path:
    """A host that was commissioned 400 days ago and has calls of then and of today."""
    root = make_root(keys, expires=NOW + dt.timedelta(days=30))
    home, clock = Home(tmp_path / "home"), SteppingClock(LONG_AGO)
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=clock)
    (home.root / "sallyport.toml").write_text("[ledger]\nballast_bytes = 65536\n")
    for moment, name in ((LONG_AGO, "old"), (NOW, "new")):
        clock.step((moment - clock.now()).total_seconds())
        host = open_host(home.root, clock=clock)
        for number in range(40):
            call = f"{name}-{number}"
            with host.change() as connection:
                drafts = [request(call), response(call, parent=1), refusal()]
                host.record(connection, drafts, now=moment)
        host.database.dispose()
    return home.root


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = main(["--home", str(home), *arguments, "--json"])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("{")]
        value = json.loads(out) if status == 0 else json.loads(lines[0])["error"]
        assert isinstance(value, dict)
        return status, value

    return run


def install(
    run: Run, home: Path, keys: Keys, retention: Retention | None, *, days: int = 30
) -> None:
    """Install a certificate that the compliance key signed, from a minute ago on."""
    certificate = SiteCertificate(
        site="blr-dc1",
        region="in-blr",
        jurisdictions=("IN",),
        not_before=NOW - dt.timedelta(minutes=1),
        not_after=NOW + dt.timedelta(days=days),
        retention=retention,
    )
    path = home.parent / "site.json"
    path.write_bytes(issue(certificate, keys.compliance))
    assert run("site", "install", str(path))[0] == 0


def later(home: Path, days: int) -> OpenHost:
    return open_host(home, clock=SteppingClock(NOW + dt.timedelta(days=days)))


def records(home: Path, where: str) -> int:
    host = later(home, 1_000)
    with host.look() as connection:
        query = f"SELECT count(*) FROM record WHERE {where}"  # noqa: S608 - fixed words
        number = connection.exec_driver_sql(query).scalar_one()
    host.database.dispose()
    return int(number)


PCI = Retention(presets=("pci",))
REFUSED: list[tuple[Retention | None, str]] = [
    (None, "missing"),
    (Retention(presets=("dpdp", "hipaa")), "retention-conflict"),
    (Retention(presets=("later", "pci")), "retention-conflict"),
]


def test_nothing_goes_without_a_certificate(home: Path, run: Run) -> None:
    status, error = run("audit", "retention", "run", "--yes")
    assert (status, error["code"]) == (3, "missing")
    plan = run("audit", "retention", "plan")[1]
    assert (plan["presets"], plan["records"]["due"]) == ([], 0)
    assert records(home, "bytes IS NULL") == 0


@pytest.mark.parametrize(("retention", "code"), REFUSED)
def test_nothing_goes_that_no_certificate_orders(
    home: Path, run: Run, keys: Keys, retention: Retention | None, code: str
) -> None:
    install(run, home, keys, retention)
    status, error = run("audit", "retention", "run", "--yes")
    assert (status, error["code"]) == (3, code)
    plan = run("audit", "retention", "plan")[1]
    assert plan["problem"]
    assert plan["records"]["due"] == 0
    assert records(home, "bytes IS NULL OR event = 'log.pruned'") == 0


def test_nothing_goes_under_a_certificate_that_is_over(home: Path, keys: Keys) -> None:
    clock = SteppingClock(NOW)
    host = open_host(home, clock=clock)
    certificate = SiteCertificate(
        site="blr-dc1",
        region="in-blr",
        jurisdictions=("IN",),
        not_before=NOW,
        not_after=NOW + dt.timedelta(days=1),
        retention=PCI,
    )
    install_site(host, issue(certificate, keys.compliance))
    clock.go(86_400)
    with pytest.raises(ExpiredError):
        run_retention(host)
    host.database.dispose()
    assert records(home, "bytes IS NULL") == 0


def test_nothing_goes_of_what_is_young(home: Path, run: Run, keys: Keys) -> None:
    install(run, home, keys, Retention(presets=("pci",), records_days=500))
    assert run("audit", "retention", "plan")[1]["records"]["days"] == 500
    assert run("audit", "retention", "run", "--yes")[1]["records"] == 0
    assert records(home, "event = 'log.pruned'") == 0


def test_a_person_is_asked_and_can_say_no(
    home: Path, run: Run, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(run, home, keys, PCI)
    monkeypatch.setattr("appliance.cli.confirm.at_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert run("audit", "retention", "run")[0] == 2
    assert records(home, "bytes IS NULL") == 0


def test_what_is_due_goes_and_is_said_everywhere(
    home: Path, run: Run, keys: Keys, tmp_path: Path
) -> None:
    install(run, home, keys, PCI)
    plan = run("audit", "retention", "plan")[1]
    assert plan["problem"] == ""
    assert plan["records"]["due"] == 120
    assert plan["oldest_call_ts"].startswith(LONG_AGO.date().isoformat())
    assert run("audit", "retention", "run", "--yes")[1] == {
        "records": 120,
        "bodies": 0,
        "batches": 1,
    }
    assert run("audit", "retention", "run", "--yes")[1] == {
        "records": 0,
        "bodies": 0,
        "batches": 0,
    }
    status = run("audit", "status")[1]
    assert (status["pruned_records"], status["holds"]) == (120, 0)
    assert status["oldest_call_ts"].startswith(NOW.date().isoformat())
    assert run("audit", "fsck")[1]["pruned"] == 120
    assert records(home, "event = 'log.pruned'") == 1
    # Whoever reads gets what is left, and is told what is not.
    (pruned,) = run("audit", "search", "--event", "log.pruned", "--reason", "a test")[
        1
    ]["records"]
    by = pruned["record"]["seq"]
    assert pruned["record"]["presets"] == ["pci"]
    shown = run("audit", "show", "2", "--reason", "a test")[1]
    assert shown["record"]["pruned"] == by
    assert shown["record"]["request_id"] == "old-0"
    assert set(shown["record"]) <= {
        *("seq", "ts", "event", "outcome", "team", "request_id", "pruned"),
    }
    found = run("audit", "search", "--team", "claims", "--reason", "a test")[1]
    assert found["matches"] == 160
    named = run("audit", "search", "--model", "demo", "--reason", "a test")[1]
    assert named["matches"] == 40
    counted = run("audit", "stats", "--event", "llm.request")[1]
    assert counted["matches"] == 80
    # An export of it verifies.
    folder = str(tmp_path / "out")
    made = run("audit", "export", "--out", folder, "--format", "csv,html")[1]
    verified = run("audit", "verify", folder, "--key", made["vkey"])[1]
    assert any("120 records" in gap for gap in verified["not_proved"])
    # So does one that withholds its records.
    folder = str(tmp_path / "least")
    run("audit", "export", "--out", folder, "--redact", "metadata")
    assert run("audit", "verify", folder, "--key", made["vkey"])[0] == 0


def test_a_kept_order_of_a_certificate_is_on_record_and_shown(
    home: Path, run: Run, keys: Keys
) -> None:
    install(run, home, keys, Retention(presets=("pci",), bodies_days=30))
    said = {"presets": ["pci"], "records_days": 0, "bodies_days": 30}
    assert run("site", "show")[1]["retention"] == said
    found = run(
        "audit", "search", "--event", "site.cert_installed", "--reason", "a test"
    )[1]
    assert found["records"][0]["record"]["retention"] == said


def test_the_room_of_what_went_is_given_back(home: Path, run: Run, keys: Keys) -> None:
    def pages() -> int:
        host = open_host(home)
        with host.look() as connection:
            number = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        host.database.dispose()
        return int(number)

    install(run, home, keys, PCI)
    host = open_host(home)
    before = pages()
    with host.hold_serve_lock("busy"):
        status, error = run("audit", "retention", "run", "--yes", "--compact")
    host.database.dispose()
    assert (status, error["code"]) == (4, "host-not-ready")
    assert records(home, "bytes IS NULL") == 0
    assert run("audit", "retention", "run", "--yes")[1]["records"] == 120
    # A row that has become short frees no page.
    assert pages() >= before
    done = run("audit", "retention", "run", "--yes", "--compact")[1]
    assert done["given_back_bytes"] > 0
    assert pages() < before
    assert run("audit", "fsck")[1]["pruned"] == 120


@pytest.fixture
def texts(home: Path) -> set[tuple[str, str]]:
    """Two calls of today whose texts are kept; what is in the file."""
    host = open_host(home, clock=SteppingClock(NOW))
    for name in ("text-a", "text-b"):
        keep_call(host, name)
    host.database.dispose()
    return kept(home)


def kept(home: Path) -> set[tuple[str, str]]:
    host = later(home, 1_000)
    with opened_vault(host) as vault:
        found: set[tuple[str, str]] = set(vault.names())
    host.database.dispose()
    return found


def test_texts_of_which_nobody_says_a_word_stay_and_so_do_their_records(
    home: Path, run: Run, keys: Keys, texts: set[tuple[str, str]]
) -> None:
    install(run, home, keys, PCI, days=900)
    host = later(home, 400)
    assert run_retention(host).bodies == 0
    host.database.dispose()
    assert kept(home) == texts
    assert records(home, "bytes IS NULL AND request_id LIKE 'text-%'") == 0
    assert records(home, "bytes IS NULL") == 240


def refused_as_pruned(host: OpenHost, request_id: str) -> None:
    """Nobody is even asked for leave to read what went; that somebody wanted to is."""
    out = host.home.root.parent / "ask.json"
    with pytest.raises(BodyPrunedError):
        ask_to_read(
            host,
            request_id,
            out,
            part=None,
            reason="a look",
            life=dt.timedelta(days=1),
        )
    assert not out.exists()


def test_texts_go_before_their_records_each_on_record(
    home: Path, run: Run, keys: Keys, texts: set[tuple[str, str]]
) -> None:
    install(run, home, keys, Retention(presets=("pci",), bodies_days=30), days=900)
    host = later(home, 40)
    plan = plan_retention(host)
    assert (plan.bodies.due.records, plan.bodies.period.days) == (4, 30)
    done = run_retention(host)
    assert (done.bodies, done.records) == (4, 120)
    with host.look() as connection:
        call = read_captured(connection, "text-a")
    host.database.dispose()
    assert call is not None
    assert call.destroyed_by == "log.pruned"
    assert kept(home) == set() != texts
    assert records(home, "bytes IS NULL AND request_id LIKE 'text-%'") == 0
    host = later(home, 400)
    refused_as_pruned(host, "text-a")
    assert run_retention(host).records == 124
    refused_as_pruned(host, "text-a")
    host.database.dispose()
    assert records(home, "bytes IS NULL AND request_id LIKE 'text-%'") == 4


def test_texts_whose_pruning_is_on_record_go_with_the_next_call(
    home: Path, run: Run, keys: Keys, texts: set[tuple[str, str]]
) -> None:
    install(run, home, keys, Retention(presets=("pci",), bodies_days=30), days=900)

    def deed() -> int:
        host = later(home, 40)
        event.listen(host.database, "commit", lambda _: die())
        run_retention(host)
        return 0

    # Killed at its commit: nothing is on record, and nothing has gone.
    assert in_child(deed) == -signal.SIGKILL
    assert (records(home, "event = 'log.pruned'"), kept(home)) == (0, texts)

    def other() -> int:
        host = later(home, 40)
        with host.change() as connection:
            order = _order(connection, Kept.BODY, now=host.clock.now())
            assert order is not None
            prune_batch(
                connection, order, log=host.log, keys=host.keys, now=host.clock.now()
            )
        die()
        return 0

    # Killed after it: it is on record, and the next call carries it out.
    assert in_child(other) == -signal.SIGKILL
    assert (records(home, "event = 'log.pruned'"), kept(home)) == (1, texts)
    host = later(home, 40)
    left = find_unfinished(host)
    assert left is not None
    assert left.calls == len({name for name, _ in texts})
    assert run_retention(host).bodies == 0
    assert find_unfinished(host) is None
    host.database.dispose()
    assert kept(home) == set()


def test_a_hold_on_what_is_of_no_call_keeps_no_texts(
    home: Path, run: Run, keys: Keys, texts: set[tuple[str, str]]
) -> None:
    install(run, home, keys, Retention(presets=("pci",), bodies_days=30), days=900)
    host = later(home, 40)
    place_hold(host, Wanted(event="llm.refused"), reason="a claim")
    assert run_retention(host).bodies == len(texts)
    host.database.dispose()


@pytest.mark.parametrize("held", [{"team": "claims"}, {"event": "llm.response"}])
def test_a_hold_on_any_record_of_a_call_keeps_its_texts(
    home: Path,
    run: Run,
    keys: Keys,
    texts: set[tuple[str, str]],
    held: dict[str, str],
) -> None:
    install(run, home, keys, Retention(presets=("pci",), bodies_days=30), days=900)
    host = later(home, 40)
    hold, _ = place_hold(host, Wanted(**held), reason="a claim")
    plan = plan_retention(host)
    assert (plan.bodies.due.records, plan.bodies.due.held) == (0, {hold.number: 4})
    assert run_retention(host).bodies == 0
    host.database.dispose()
    assert kept(home) == texts
