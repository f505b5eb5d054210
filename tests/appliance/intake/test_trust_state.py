"""Trust state and floor as rows: what was saved is what is loaded, byte for byte."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from appliance.db.session import create_database
from appliance.intake import trust_state
from bundleformat.errors import MissingError, UsageError
from bundleformat.trust import TrustFloor, TrustState
from tests.support.publisher import NOW, make_root, new_keys

FLOOR = TrustFloor(root_version=1, bundle_version=7, time_floor=NOW)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_database(tmp_path / "sallyport.db")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def state(*extra: tuple[str, bytes]) -> TrustState:
    root = make_root(new_keys())
    return TrustState(
        files=(("bootstrap.json", root), ("root_history/1.root.json", root), *extra)
    )


def test_saved_state_is_loaded_byte_for_byte(connection: Connection) -> None:
    saved = state(("timestamp.json", b"{ \xc3\xa9 }\n"))
    trust_state.save(connection, channel="main", state=saved, floor=None)
    loaded = trust_state.load(connection, "main")
    assert loaded.state == saved
    assert loaded.floor is None


def test_saving_replaces_files_and_keeps_the_floor_unless_given_a_new_one(
    connection: Connection,
) -> None:
    first, second = state(("timestamp.json", b"1")), state()
    trust_state.save(connection, channel="main", state=first, floor=FLOOR)
    trust_state.save(connection, channel="main", state=second, floor=None)
    loaded = trust_state.load(connection, "main")
    assert loaded.state == second
    assert loaded.floor == FLOOR
    later = TrustFloor(
        root_version=2, bundle_version=8, time_floor=NOW + dt.timedelta(microseconds=1)
    )
    trust_state.save(connection, channel="main", state=second, floor=later)
    assert trust_state.load(connection, "main").floor == later


def test_channels_do_not_share_anything(connection: Connection) -> None:
    main, extra = state(), state()
    trust_state.save(connection, channel="main", state=main, floor=FLOOR)
    trust_state.save(connection, channel="extra", state=extra, floor=None)
    assert trust_state.channels(connection) == ("extra", "main")
    assert trust_state.load(connection, "extra").state == extra
    assert trust_state.load(connection, "extra").floor is None


def test_the_only_channel_need_not_be_named(connection: Connection) -> None:
    with pytest.raises(MissingError):
        trust_state.choose_channel(connection, None)
    trust_state.save(connection, channel="main", state=state(), floor=None)
    assert trust_state.choose_channel(connection, None) == "main"
    assert trust_state.choose_channel(connection, "main") == "main"
    with pytest.raises(MissingError) as caught:
        trust_state.choose_channel(connection, "other")
    assert caught.value.where == "other"


def test_one_of_several_channels_must_be_named(connection: Connection) -> None:
    for channel in ("main", "extra"):
        trust_state.save(connection, channel=channel, state=state(), floor=None)
    with pytest.raises(UsageError) as caught:
        trust_state.choose_channel(connection, None)
    assert caught.value.expected.endswith("extra, main")
    assert trust_state.choose_channel(connection, "extra") == "extra"


def test_a_channel_without_a_trust_root_is_missing(connection: Connection) -> None:
    with pytest.raises(MissingError) as caught:
        trust_state.load(connection, "main")
    assert caught.value.where == "main"
