"""The hint on a volume: which one it is, of how many, and which chunks it holds.

::

    {"channel":"main","chunks":["…",…],"format":1,"of":3,"since":null,
     "version":7,"volume":2}

Nobody signs it, because a bundle is split and joined without its keys. It tells a
person which disc to put in next, and a program where to look first; what a bundle
holds, the manifest says. A volume without a hint is volume 1 of 1. ``since`` is
the version whose chunks a differential bundle leaves out, or null.

It has one encoding, so ``encode(parse(data)) == data``.
"""

from dataclasses import dataclass
from typing import Any, Final

from bundleformat import strictjson
from bundleformat.digest import Sha256, parse_sha256
from bundleformat.errors import MalformedError
from bundleformat.fields import Fields
from bundleformat.layout import VOLUME_HINT_PATH
from bundleformat.limits import Limits
from bundleformat.manifest import MAX_VERSION
from bundleformat.medium import Medium
from bundleformat.paths import Name, check_ascending, parse_name

FORMAT: Final = 1
"""The version of the hint."""

MAX_VOLUMES: Final = 4_096
"""Most volumes of one bundle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeHint:
    """What one volume says of itself. The caller MUST NOT trust it.

    Attributes:
        channel: Channel of the bundle.
        version: Version of the bundle.
        volume: Number of this volume, from 1.
        of: How many volumes there are.
        since: The version whose chunks were left out, or None.
        chunks: Digests of the chunks on this volume, ascending.
    """

    channel: Name
    version: int
    volume: int
    of: int
    since: int | None
    chunks: tuple[Sha256, ...]


def encode(hint: VolumeHint) -> bytes:
    """Return the canonical bytes of ``hint``."""
    return strictjson.encode(
        {
            "format": FORMAT,
            "channel": hint.channel,
            "version": hint.version,
            "volume": hint.volume,
            "of": hint.of,
            "since": hint.since,
            "chunks": list(hint.chunks),
        }
    )


def parse(data: bytes, *, limits: Limits) -> VolumeHint:
    """Return the hint in ``data``.

    Raises:
        MalformedError: Not the one encoding of a hint.
        LimitExceededError: A size, count or depth above its limit.
    """
    value = strictjson.decode_canonical(
        data,
        max_bytes=limits.volume_hint_bytes,
        max_depth=limits.json_depth,
        where=VOLUME_HINT_PATH,
    )
    whole = isinstance(value, dict) and value.get("since", 0) is None
    if whole:
        value.pop("since")
    fields = Fields(value, where=VOLUME_HINT_PATH)
    fields.integer("format", minimum=FORMAT, maximum=FORMAT)
    of = fields.integer("of", minimum=1, maximum=MAX_VOLUMES)
    version = fields.integer("version", minimum=1, maximum=MAX_VERSION)
    hint = VolumeHint(
        channel=parse_name(
            fields.text("channel", max_characters=64), where=fields.place("channel")
        ),
        version=version,
        volume=fields.integer("volume", minimum=1, maximum=of),
        of=of,
        since=None
        if whole
        else fields.integer("since", minimum=1, maximum=version - 1),
        chunks=tuple(
            _chunk(item, where=where)
            for item, where in fields.items("chunks", max_items=limits.chunks)
        ),
    )
    fields.finish()
    check_ascending(hint.chunks, where=fields.place("chunks"))
    return hint


def read_hint(medium: Medium, *, limits: Limits) -> VolumeHint | None:
    """Return the hint of ``medium``, or None if it has none.

    Raises:
        MalformedError, LimitExceededError: There is one that breaks its format.
        StorageFaultError: The medium cannot be read.
    """
    if not medium.exists(VOLUME_HINT_PATH):
        return None
    return parse(
        medium.read(VOLUME_HINT_PATH, max_bytes=limits.volume_hint_bytes),
        limits=limits,
    )


def _chunk(item: Any, *, where: str) -> Sha256:  # noqa: ANN401 - any JSON value
    if not isinstance(item, str):
        raise MalformedError("not a SHA-256 digest", where=where)
    return parse_sha256(item, where=where)
