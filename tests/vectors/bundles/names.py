"""Names and paths that leave their folder, or that two systems read as two.

A medium names nothing: the host looks for paths that it makes itself of signed
digests. So these stand in what is signed, where a publisher was deceived, and in
the hint, which anybody can write.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

import rfc8785

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, VOLUME_HINT_PATH
from tests.vectors.bundles.case import LIMIT, MALFORMED, Case, of_files
from tests.vectors.bundles.estate import DELIVERED, NEXT, Files, bundle, policy
from tests.vectors.bundles.forge import Change, put, with_manifest

PATHS: Final = {
    "climbs": "policies/../../../etc/cron.d/x",
    "climbs-at-once": "../policies/site.cedar",
    "is-absolute": "/etc/cron.d/x",
    "climbs-by-backslashes": "policies\\..\\..\\x",
    "names-a-drive": "c:/x",
    "names-a-device": "policies/con.cedar",
    "names-a-port": "policies/COM1",
    "is-hidden": "policies/.site",
    "is-this-folder": "policies/./site.cedar",
    "has-an-empty-part": "policies//site.cedar",
    "ends-with-a-slash": "policies/",
    "ends-with-a-dot": "policies/site.",
    "ends-with-a-space": "policies/site ",
    "has-a-stream": "policies/site:evil",
    "has-a-zero-byte": "policies/site\0.cedar",
    "has-a-line-end": "policies/site\nx",
    "has-an-escape": "policies/\x1b[2J",
    "has-a-letter-in-one-code-point": "policies/caf\u00e9",
    "has-a-letter-in-two-code-points": "policies/cafe\u0301",
    "has-a-cyrillic-letter": "policies/s\u0456te.cedar",
    "is-written-from-right-to-left": "policies/\u202ersite",
    "has-a-full-width-slash": "policies\uff0fsite",
    "is-of-another-kind": "models/site.cedar",
    "is-in-the-store": "store/sha256/" + "0" * 64,
}
"""What an artifact's path can be."""

NAMES: Final = {
    "climbs": "../site",
    "is-absolute": "/site",
    "is-empty": "",
    "is-a-dot": ".",
    "is-an-option": "-rf",
    "is-a-device": "nul",
    "is-in-capitals": "SITE",
    "has-a-space": "si te",
    "has-an-escape": "\x1b]0;x\x07",
    "has-a-look-alike": "s\u0456te",
    "has-digits-of-another-script": "site\u0661",
}
"""What its name can be."""

DIGESTS: Final = {
    "climbs": "../../../../etc/passwd",
    "is-in-capitals": "AB" * 32,
    "is-short": "ab" * 31,
    "is-empty": "",
    "has-digits-of-another-script": "\uff11" * 64,
    "has-a-line-end": "ab" * 32 + "\n",
}
"""What a digest, which becomes the name of a file, can be."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    first = "artifacts[0]"
    for name, path in PATHS.items():
        yield _of(f"path-that-{name}", f"{first}.path", _put(path=path))
    for name, said in NAMES.items():
        yield _of(f"name-that-{name}", f"{first}.name", _put(name=said))
    for name, digest in DIGESTS.items():
        yield _of(
            f"digest-that-{name}", f"{first}.sha256", _put(sha256=digest), _long(digest)
        )
        yield _of(
            f"chunk-that-{name}",
            f"{first}.chunks[0].sha256",
            _put_chunk(digest),
            _long(digest),
        )
    yield from _long_ones()
    yield from _twice()
    yield from _channels()


def _long_ones() -> Iterator[Case]:
    where = "artifacts[0].path"
    deep = "policies/" + "a/" * 8 + "site"
    yield _of("path-that-is-deep", where, _put(path=deep))
    yield _of("path-that-is-long", where, _put(path="policies/" + "a" * 300), LIMIT)
    yield _of("name-that-is-long", "artifacts[0].name", _put(name="a" * 65))


def _twice() -> Iterator[Case]:
    """Yield what is there twice, to somebody."""
    again = replace(policy("again", says="again"), path="policies/site.cedar")
    for name, path in (
        ("path-twice", "policies/site.cedar"),
        ("path-in-another-case", "policies/SITE.cedar"),
    ):
        other = replace(again, path=path)
        yield of_files(
            name,
            MALFORMED,
            "artifacts",
            partial(bundle, *DELIVERED[NEXT], other),
        )
    same = replace(again, name="site", path="policies/again.cedar")
    yield of_files(
        "name-twice", MALFORMED, "artifacts", lambda: bundle(*DELIVERED[NEXT], same)
    )


def _channels() -> Iterator[Case]:
    for name, said, where in (
        ("is-another", "other", MANIFEST_PATH),
        ("climbs", "../main", "channel"),
        ("is-in-capitals", "MAIN", "channel"),
        ("has-a-look-alike", "m\u0430in", "channel"),
    ):
        yield _of(f"channel-that-{name}", where, put(channel=said))
    hint: dict[str, Any] = {
        "channel": "main",
        "chunks": [],
        "format": 1,
        "of": 1,
        "since": None,
        "version": NEXT,
        "volume": 1,
    }
    for name, where, changed in (
        ("channel-climbs", "channel", {**hint, "channel": "../../etc"}),
        ("chunk-climbs", "chunks[0]", {**hint, "chunks": ["../../etc/passwd"]}),
        ("chunk-is-in-capitals", "chunks[0]", {**hint, "chunks": ["AB" * 32]}),
    ):
        yield of_files(
            f"hint-whose-{name}",
            MALFORMED,
            f"{VOLUME_HINT_PATH}.{where}",
            partial(_with_hint, changed),
            step=Step.LOCK,
        )


def _of(name: str, where: str, change: Change, code: str = MALFORMED) -> Case:
    return of_files(name, code, where, lambda: with_manifest(change))


def _with_hint(said: dict[str, Any]) -> Files:
    return {**bundle(), VOLUME_HINT_PATH: rfc8785.dumps(said)}


def _put_chunk(digest: str) -> Change:
    return lambda value: value["artifacts"][0]["chunks"][0].update(sha256=digest)


def _put(**said: str) -> Change:
    return lambda value: value["artifacts"][0].update(said)


def _long(digest: str) -> str:
    """Return the code: what is longer than any digest is told by its length."""
    return LIMIT if len(digest) > 64 and digest.isprintable() else MALFORMED
