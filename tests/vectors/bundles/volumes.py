"""Volumes of other bundles, of other splits, and hints that are none.

Nothing here needs a key. A hint is unsigned, so it may lie; these break its format,
or give a host volumes that do not belong together.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import rfc8785

from appliance.import_steps.host import Step
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, VOLUME_HINT_PATH
from tests.vectors.bundles.case import (
    CONFLICT,
    DIGEST,
    LIMIT,
    MALFORMED,
    MISSING,
    Case,
    of_files,
    of_media,
)
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import CHANNEL, NEXT, Files, bundle
from tests.vectors.bundles.forge import sign
from tests.vectors.bundles.forms import write_folder
from tests.vectors.bundles.links import move_and_link

DIGESTS: Final = sorted(path[-64:] for path in bundle() if path.startswith("c/"))

HINT: Final[dict[str, Any]] = {
    "channel": CHANNEL,
    "chunks": DIGESTS,
    "format": 1,
    "of": 1,
    "since": None,
    "version": NEXT,
    "volume": 1,
}
"""What a volume that holds all of the good bundle says of itself."""


def hint(**said: Any) -> bytes:
    """Return the hint, saying something else in some fields."""
    return rfc8785.dumps({**HINT, **said})


def volume(number: int, *, of: int, files: Files | None = None) -> Files:
    """Return one of the volumes on which the good bundle lies."""
    held = files or bundle()
    chunks = [path for path in held if path.startswith("c/")][number - 1 :: of]
    digests = sorted(path[-64:] for path in chunks)
    return {
        **{path: data for path, data in held.items() if not path.startswith("c/")},
        **{path: held[path] for path in chunks},
        VOLUME_HINT_PATH: hint(chunks=digests, of=of, volume=number),
    }


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    yield from _hints()
    yield from _sets()
    yield from _holed()


def _hints() -> Iterator[Case]:
    for name, field, code, said in (
        ("format-2", "format", LIMIT, {"format": 2}),
        ("of-no-volumes", "of", MALFORMED, {"of": 0}),
        ("of-a-million-volumes", "of", LIMIT, {"of": 10**6}),
        ("volume-0", "volume", MALFORMED, {"volume": 0}),
        ("volume-2-of-1", "volume", LIMIT, {"volume": 2}),
        ("volume-true", "volume", MALFORMED, {"volume": True}),
        ("since-itself", "since", LIMIT, {"since": NEXT}),
        ("since-0", "since", MALFORMED, {"since": 0}),
        ("chunks-that-are-none", "chunks", MALFORMED, {"chunks": "all"}),
        ("chunk-that-is-a-number", "chunks[0]", MALFORMED, {"chunks": [7]}),
        ("chunk-twice", "chunks", MALFORMED, {"chunks": DIGESTS[:1] * 2}),
        ("chunks-unordered", "chunks", MALFORMED, {"chunks": DIGESTS[::-1]}),
        ("field-too-many", "path", MALFORMED, {"path": "/"}),
    ):
        yield of_files(
            f"hint-{name}",
            code,
            f"{VOLUME_HINT_PATH}.{field}",
            partial(_with_hint, said),
            step=Step.LOCK,
        )
    yield of_files(
        "hint-with-spaces",
        MALFORMED,
        VOLUME_HINT_PATH,
        lambda: {**bundle(), VOLUME_HINT_PATH: hint() + b"\n"},
        step=Step.LOCK,
    )


def _with_hint(said: dict[str, Any]) -> Files:
    return {**bundle(), VOLUME_HINT_PATH: hint(**said)}


def _sets() -> Iterator[Case]:
    def of(
        name: str, code: str, where: str, *media: Files, step: Step = Step.LOCK
    ) -> Case:
        return of_media(
            name, code, where, lambda folder: _written(folder, media), step=step
        )

    first, second = volume(1, of=2), volume(2, of=2)
    yield of(
        "second-of-an-older-version", CONFLICT, "medium-2", first, bundle(version=1)
    )
    yield of("second-of-another-split", CONFLICT, "medium-2", first, volume(2, of=3))
    yield of("second-without-a-hint", CONFLICT, "medium-2", first, bundle())
    yield of(
        "second-without-metadata",
        MISSING,
        "medium-2",
        first,
        {p: d for p, d in second.items() if not p.startswith("metadata")},
    )
    for path, what in ((TIMESTAMP_PATH, "timestamp"), (MANIFEST_PATH, "manifest")):
        yield of(
            f"second-with-another-{what}",
            CONFLICT,
            "medium-2",
            first,
            {**second, path: second[path] + b" "},
        )
    altered = next(path for path in second if path.startswith("c/"))
    yield of(
        "second-with-an-altered-chunk",
        DIGEST,
        altered,
        first,
        {**second, altered: b"x"},
        step=Step.COPY,
    )
    yield of(
        "both-of-a-stranger",
        "equivocation",
        "metadata/1.root.json",
        *({**each, "metadata/1.root.json": _other_root()} for each in (first, second)),
        step=Step.VERIFY,
    )
    yield of_media(
        "second-with-a-link", MALFORMED, SITE[1], _with_a_link, step=Step.PREFLIGHT
    )


def _holed() -> Iterator[Case]:
    """Yield bundles of which no volume has some chunk."""
    kept = {path: data for path, data in bundle().items() if path != SITE[1]}
    yield of_files(
        "chunk-that-the-hint-claims",
        MISSING,
        SITE[1],
        lambda: {**kept, VOLUME_HINT_PATH: hint()},
        step=Step.PREFLIGHT,
    )
    yield of_files(
        "differential-of-what-this-host-lacks",
        MISSING,
        "medium",
        lambda: {
            **kept,
            VOLUME_HINT_PATH: hint(
                since=1, chunks=[d for d in DIGESTS if d != SITE[1][-64:]]
            ),
        },
        step=Step.PREFLIGHT,
    )


def _written(folder: Path, media: Sequence[Files]) -> list[Path]:
    return [
        write_folder(files, folder / f"medium-{number}")
        for number, files in enumerate(media, start=1)
    ]


def _with_a_link(folder: Path) -> list[Path]:
    media = _written(folder, [volume(1, of=2), volume(2, of=2)])
    move_and_link(media[1], SITE[1])
    return media


def _other_root() -> bytes:
    return sign({"_type": "root", "spec_version": "1.0.31", "version": 1}, ())
