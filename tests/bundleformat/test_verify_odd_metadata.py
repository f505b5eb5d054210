"""Metadata of odd shapes: whatever a field holds, the answer is in the error tree."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bundleformat.errors import RefusalError
from tests.support.bundle_host import BundleHost
from tests.support.publisher import Published, next_root

ODD: tuple[Any, ...] = (None, True, -1, 2**53 - 1, "", "\u202e", [], [[]], {}, {"a": 1})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the key path of every value in a document."""
    if path:
        yield path
    keys: Any = ()
    if isinstance(value, dict):
        keys = value
    elif isinstance(value, list):
        keys = range(len(value))
    for key in keys:
        yield from places(value[key], (*path, key))


def changed(document: bytes, path: tuple[Any, ...], value: Any) -> bytes:
    whole = json.loads(document)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(whole).encode()


def spelt(document: bytes) -> str:
    """Return a document in one spelling, in which true is not 1 as it is to Python."""
    return json.dumps(json.loads(document), sort_keys=True)


@pytest.mark.parametrize(
    "name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"]
)
def test_an_odd_value_anywhere_is_refused(
    published: Published, host: BundleHost, name: str
) -> None:
    path = published.folder / "metadata" / name
    if name == "2.root.json":
        path.write_bytes(next_root(published.root, signers=published.keys.root))
    good = path.read_bytes()
    accepted = host.look(published.folder).manifest_bytes
    for place in places(json.loads(good)):
        for value in ODD:
            path.write_bytes(changed(good, place, value))
            try:
                bundle = host.look(published.folder)
            except RefusalError:
                continue
            # What no signature covers may change, if nothing follows from it.
            assert place[0] != "signed" or spelt(path.read_bytes()) == spelt(good)
            assert bundle.manifest_bytes == accepted
    assert list(host.scratch.iterdir()) == []
