"""Odd values anywhere in what is signed: taken or refused, and never a bug.

The keys' holders can sign anything. Whatever they do, the import answers with an
error of the tree, on record, and with nothing left; or it takes the bundle.
"""

import copy
import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from bundleformat.errors import RefusalError
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH
from tests.bundleformat.test_verify_odd_metadata import places
from tests.support.corpus_host import CorpusHost
from tests.vectors.bundles.estate import KEYS, Files, bundle, root
from tests.vectors.bundles.forge import (
    SNAPSHOT_PATH,
    TARGETS_PATH,
    Value,
    named_snapshot,
    named_targets,
    resigned,
    root_2,
    sign,
)
from tests.vectors.bundles.forms import single_file

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**53 - 1,
    "",
    "\u202e",
    "\x1b[2J",
    "a" * 300,
    "../x",
    [],
    [[]],
    {},
    {"a": 1},
)

Forge = Callable[[Value], Files]

FORGES: dict[str, tuple[Callable[[], bytes], Forge]] = {
    "root": (
        root_2,
        lambda value: bundle(roots=(root(), sign(value, KEYS.root[:2]))),
    ),
    "timestamp": (
        lambda: bundle()[TIMESTAMP_PATH],
        lambda value: {**bundle(), TIMESTAMP_PATH: sign(value, [KEYS.bundler])},
    ),
    "snapshot": (
        lambda: bundle()[SNAPSHOT_PATH],
        lambda value: named_snapshot(
            {**bundle(), SNAPSHOT_PATH: sign(value, [KEYS.bundler])}
        ),
    ),
    "targets": (
        lambda: bundle()[TARGETS_PATH],
        lambda value: named_targets(
            {**bundle(), TARGETS_PATH: sign(value, [KEYS.release])}
        ),
    ),
    "manifest": (
        lambda: bundle()[MANIFEST_PATH],
        lambda value: resigned(bundle(), manifest=rfc8785.dumps(value)),
    ),
}
"""What is signed: the good one, and a bundle with another in its place."""


def odd(value: Value) -> Iterator[Value]:
    """Yield ``value`` with each of its parts replaced by each odd value, or absent."""
    for place in places(value):
        for replacement in ODD:
            changed = copy.deepcopy(value)
            parent_of(changed, place)[place[-1]] = replacement
            yield changed
        lacking = copy.deepcopy(value)
        del parent_of(lacking, place)[place[-1]]
        yield lacking


def parent_of(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        value = value[key]
    return value


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("what", FORGES)
def test_an_odd_value_anywhere_that_is_signed_is_taken_or_refused(
    template: CorpusHost, tmp_path: Path, what: str
) -> None:
    good, forge = FORGES[what]
    document = json.loads(good())
    hosts = (template.copy(tmp_path / f"home-{number}") for number in count())
    host = next(hosts)
    before, refused = host.standing(), 0
    for value in odd(document.get("signed", document)):
        medium = tmp_path / "medium.mbundle"
        medium.write_bytes(single_file(forge(value)))
        length = host.length()
        code = refusal(host, medium)
        if code is None:
            host = next(hosts)
            before = host.standing()
            continue
        assert host.standing() == before
        assert host.records(after=length)[-1]["code"] == code
        refused += 1
    assert refused >= 100


def refusal(host: CorpusHost, medium: Path) -> str | None:
    """Import, and return the code of the refusal, or None if there is none."""
    try:
        host.import_(medium)
    except RefusalError as error:
        return error.code
    return None
