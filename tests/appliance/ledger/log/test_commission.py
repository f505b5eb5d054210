"""A host gets one ledger, and its key is nobody else's to read."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from appliance.db.session import create_database
from appliance.errors import AuditUnavailableError, HostNotReadyError
from appliance.ledger.log.commission import (
    commission,
    open_ledger,
    read_identity,
)
from appliance.ledger.log.keys import create_key, load_key
from appliance.ledger.log.status import checkpoint, status
from appliance.ledger.tree.note import open_checkpoint, parse_vkey
from bundleformat.errors import (
    ConflictError,
    MalformedError,
    SignatureError,
    StorageFaultError,
)
from tests.support.ledgers import NOW, TOOL, Ledger, ledger_in, request


def _pem(key: Path) -> bytes:
    return key.read_bytes()


def test_the_first_record_names_the_key_of_the_ledger(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        first = connection.execute(
            text("SELECT event, CAST(bytes AS TEXT) FROM record WHERE seq = 0")
        ).one()
    assert first[0] == "log.created"
    assert f'"vkey":"{ledger.log.vkey}"' in first[1]
    assert ledger.log.origin == f"test.example/audit/{ledger.log.log_id}"


def test_the_key_file_is_its_owners_alone(ledger: Ledger) -> None:
    path = ledger.home / "keys" / "ledger.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.key"]


def test_a_second_ledger_is_refused_and_the_first_one_unchanged(
    ledger: Ledger,
) -> None:
    path = ledger.home / "keys" / "ledger.key"
    before = _pem(path)
    with pytest.raises(ConflictError), ledger.engine.begin() as connection:
        commission(connection, key_path=path, site="other", tool=TOOL, now=NOW)
    assert (_pem(path), ledger.count("log_meta"), ledger.count()) == (before, 1, 1)


def test_an_interrupted_commissioning_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ledger.key"
    engine = create_database(tmp_path / "sallyport.db")
    with engine.connect() as connection:
        commission(connection, key_path=path, site="s", tool=TOOL, now=NOW)
        connection.rollback()
    with engine.begin() as connection:
        commission(connection, key_path=path, site="s", tool=TOOL, now=NOW)
        assert open_ledger(connection, key_path=path)[0] == read_identity(connection)
    engine.dispose()


@pytest.mark.parametrize("site", ["", "two words", "a+b", "Zürich"])
def test_a_site_that_no_key_can_be_named_after_is_refused(
    tmp_path: Path, site: str
) -> None:
    engine = create_database(tmp_path / "sallyport.db")
    with pytest.raises(MalformedError) as caught, engine.begin() as connection:
        commission(connection, key_path=tmp_path / "key", site=site, tool=TOOL, now=NOW)
    engine.dispose()
    assert caught.value.where == "site"
    assert not (tmp_path / "key").exists()


def test_a_host_without_ledger_is_not_ready(tmp_path: Path) -> None:
    engine = create_database(tmp_path / "sallyport.db")
    with engine.connect() as connection, pytest.raises(HostNotReadyError):
        open_ledger(connection, key_path=tmp_path / "key")
    engine.dispose()


def test_another_ledgers_key_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    create_key(other)
    with ledger.engine.connect() as connection, pytest.raises(SignatureError) as caught:
        open_ledger(connection, key_path=other)
    assert caught.value.where == str(other)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    before = _pem(tmp_path / "key")
    with pytest.raises(ConflictError):
        create_key(tmp_path / "key")
    assert _pem(tmp_path / "key") == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFaultError):
        create_key(tmp_path / "file" / "key")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(HostNotReadyError) as caught:
        load_key(tmp_path / "key")
    assert (caught.value.expected, caught.value.actual) == ("600", f"{mode:o}")


def test_a_missing_linked_or_foreign_key_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "text").write_bytes(b"not a key")
    (tmp_path / "text").chmod(0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("missing", "link", "text", "folder"):
        with pytest.raises(HostNotReadyError):
            load_key(tmp_path / name)


def test_a_key_round_trips_through_its_file(tmp_path: Path) -> None:
    raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
    plain = serialization.NoEncryption()
    made = create_key(tmp_path / "key")
    assert isinstance(made, Ed25519PrivateKey)
    read = load_key(tmp_path / "key").private_bytes(*raw, plain)
    assert read == made.private_bytes(*raw, plain)


def test_status_and_checkpoint_show_the_signed_head(tmp_path: Path) -> None:
    with ledger_in(tmp_path) as ledger:
        (receipt,) = ledger.append([request("r1")])
        with ledger.engine.connect() as connection:
            shown = status(connection)
            signed = open_checkpoint(
                checkpoint(connection).encode(), key=parse_vkey(ledger.log.vkey)
            )
    assert (shown.size, shown.root, shown.open_requests) == (2, receipt.root, 1)
    assert (signed.size, signed.root) == (2, receipt.root)
    assert (shown.origin, shown.vkey) == (ledger.log.origin, ledger.log.vkey)


def test_status_refuses_a_head_that_is_not_signed(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER checkpoint_no_update"))
        connection.execute(text("UPDATE checkpoint SET note = 'x'"))
    with ledger.engine.connect() as connection:
        for show in (status, checkpoint):
            with pytest.raises(AuditUnavailableError):
                show(connection)
