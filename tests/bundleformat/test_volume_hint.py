import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from bundleformat.digest import Sha256
from bundleformat.errors import Error, LimitExceededError, MalformedError
from bundleformat.layout import VOLUME_HINT_PATH
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.paths import parse_name
from bundleformat.volume import Volume
from bundleformat.volume_hint import VolumeHint, encode, parse, read_hint

HINT = VolumeHint(
    channel=parse_name("main"),
    version=7,
    volume=2,
    of=3,
    since=None,
    chunks=(Sha256("0" * 64), Sha256("1" * 64)),
)


@pytest.mark.parametrize(
    "hint", [HINT, replace(HINT, since=6), replace(HINT, chunks=(), volume=1, of=1)]
)
def test_a_hint_has_one_encoding(hint: VolumeHint) -> None:
    assert parse(encode(hint), limits=DEFAULT_LIMITS) == hint


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"format": 2}, LimitExceededError),
        ({"volume": 0}, MalformedError),
        ({"volume": 4}, LimitExceededError),
        ({"of": 4_097, "volume": 1}, LimitExceededError),
        ({"of": "3"}, MalformedError),
        ({"version": 0}, MalformedError),
        ({"since": 7}, LimitExceededError),
        ({"since": 0}, MalformedError),
        ({"channel": "Main"}, MalformedError),
        ({"chunks": ["1" * 64, "0" * 64]}, MalformedError),
        ({"chunks": ["1" * 64, "1" * 64]}, MalformedError),
        ({"chunks": ["x"]}, MalformedError),
        ({"chunks": [1]}, MalformedError),
        ({"chunks": None}, MalformedError),
        ({"more": 1}, MalformedError),
    ],
)
def test_a_wrong_hint_is_refused(changed: dict[str, Any], error: type[Error]) -> None:
    value = {**json.loads(encode(HINT)), **changed}
    with pytest.raises(error) as caught:
        parse(rfc8785.dumps(value), limits=DEFAULT_LIMITS)
    assert caught.value.where.startswith("volume.json")


@pytest.mark.parametrize("key", ["channel", "chunks", "of", "since", "version"])
def test_a_hint_without_a_field_is_refused(key: str) -> None:
    value = json.loads(encode(HINT))
    del value[key]
    with pytest.raises(MalformedError):
        parse(rfc8785.dumps(value), limits=DEFAULT_LIMITS)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", encode(HINT) + b"\n"])
def test_what_is_no_hint_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data, limits=DEFAULT_LIMITS)


def test_a_hint_above_its_limit_is_not_parsed() -> None:
    with pytest.raises(LimitExceededError):
        parse(encode(HINT), limits=replace(DEFAULT_LIMITS, volume_hint_bytes=100))
    with pytest.raises(LimitExceededError):
        parse(encode(HINT), limits=replace(DEFAULT_LIMITS, chunks=1))


def test_a_volume_may_have_no_hint(tmp_path: Path) -> None:
    with Volume(tmp_path) as volume:
        assert read_hint(volume, limits=DEFAULT_LIMITS) is None
        (tmp_path / VOLUME_HINT_PATH).write_bytes(encode(HINT))
        assert read_hint(volume, limits=DEFAULT_LIMITS) == HINT
