"""Bundles that a host must take, however strange the medium looks.

They are good in every form there is, or odd in a way that nobody signs and nothing
follows from. What is refused here without need keeps an operator from a release.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.import_steps.host import Step
from bundleformat.layout import METADATA_FOLDER, TIMESTAMP_PATH, VOLUME_HINT_PATH
from tests.support.iso_bytes import iso_image
from tests.support.publish_wheels import quick_pip, tiny_wheel
from tests.vectors.bundles.case import Media, Swap
from tests.vectors.bundles.chunks import SITE
from tests.vectors.bundles.estate import (
    ACTIVE,
    DELIVERED,
    KEYS,
    NEXT,
    Delivery,
    Files,
    bundle,
    key,
    root,
    trust_only,
)
from tests.vectors.bundles.forge import (
    ROOT_PATH,
    revoke_bundler,
    root_2,
    with_bytes,
    with_json,
)
from tests.vectors.bundles.forms import single_file, write_folder
from tests.vectors.bundles.models import TERMS, good_model, split_model
from tests.vectors.bundles.volumes import hint, volume
from tests.vectors.bundles.wheels import environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Good:
    """One bundle that a host takes.

    Attributes:
        name: What it looks like.
        make: Writes it into an empty folder, and says where its media are.
        version: What is active afterwards.
        data: The bytes of its one file, if that is committed.
        suffix: How the name of that file ends.
        swap: What changes on the medium meanwhile.
        genuine: It is the good bundle itself, whatever it looks like.
        slow: It takes seconds.
    """

    name: str
    make: Callable[[Path], Media]
    version: int = NEXT
    data: Callable[[], bytes] | None = None
    suffix: str = ".mbundle"
    swap: Swap | None = None
    genuine: bool = True
    slow: bool = False


def accepted() -> Iterator[Good]:
    """Yield every bundle that a host takes."""
    yield from _forms()
    yield from _spellings()
    yield from _neighbours()
    yield from _changes()
    yield from _contents()


def _forms() -> Iterator[Good]:
    yield _folder("folder", bundle)
    yield _file("single-file", bundle)
    yield replace(
        _file("image", bundle),
        data=lambda: bytes(iso_image(bundle()).data),
        suffix=".iso",
    )
    yield _media("two-volumes", _folders(volume(1, of=2), volume(2, of=2)))
    yield _media("two-volumes-turned", _folders(volume(2, of=2), volume(1, of=2)))
    yield _media("volumes-of-two-forms", _two_forms)
    yield _media("the-same-volume-twice", _folders(bundle(), bundle()))
    yield replace(_file("differential", _differential), genuine=False)
    roots = (root(), root_2(revoke_bundler(key("fresh bundler"))))
    news = _file(
        "trust-only", lambda: trust_only(version=NEXT, roots=(root(), root_2()))
    )
    yield replace(news, version=ACTIVE, genuine=False)
    fresh = replace(KEYS, bundler=key("fresh bundler"))
    yield replace(
        _file("under-the-next-root", lambda: bundle(keys=fresh, roots=roots)),
        genuine=False,
    )


def _spellings() -> Iterator[Good]:
    """Yield what differs in nothing that is signed."""
    yield _file(
        "timestamp-with-a-line-end",
        lambda: with_bytes(TIMESTAMP_PATH, lambda data: data + b"\n"),
    )
    yield _file(
        "timestamp-with-spaces",
        lambda: with_bytes(
            TIMESTAMP_PATH, lambda data: json.dumps(json.loads(data), indent=1).encode()
        ),
    )
    yield _file(
        "timestamp-with-a-strangers-signature",
        lambda: with_json(
            TIMESTAMP_PATH,
            lambda v: v["signatures"].append({"keyid": "0" * 64, "sig": "00" * 64}),
        ),
    )
    yield _file(
        "root-without-a-signature",
        lambda: with_json(ROOT_PATH, lambda v: v["signatures"].clear()),
    )
    yield _folder(
        "hint-that-lies",
        lambda: {
            **bundle(),
            VOLUME_HINT_PATH: hint(channel="other", version=9, of=7, volume=3),
        },
    )


def _neighbours() -> Iterator[Good]:
    """Yield media with more on them than a bundle."""
    yield _spoilt("things-beside", _beside)
    yield _spoilt("things-in-the-folders", _inside)
    yield _spoilt("chunk-that-is-a-hard-link", _hard_link)
    yield _media("medium-behind-a-link", _behind_a_link)


def _changes() -> Iterator[Good]:
    """Yield media that change when it no longer matters."""
    changed = _folder("metadata-exchanged-after-its-check", bundle)
    yield replace(changed, swap=Swap(act=_old_metadata, at=Step.PREFLIGHT))
    gone = _folder("medium-gone-after-the-copy", bundle)
    yield replace(gone, swap=Swap(act=shutil.rmtree, at=Step.EXAMINE))
    moved = _folder("another-folder-in-its-place", bundle)
    yield replace(moved, swap=Swap(act=_another_folder, at=Step.VERIFY))


def _contents() -> Iterator[Good]:
    model = Delivery(
        kind="model",
        name="good",
        path="models/good.gguf",
        data=good_model(),
        chunk_bytes=20_000,
        model=TERMS,
    )
    for name, files in (
        ("model", lambda: bundle(*DELIVERED[NEXT], model)),
        ("model-in-two-parts", split_model),
        ("environment", lambda: environment(_wheels)),
        ("bill-that-no-reader-survives", _bill),
    ):
        slow = name == "environment"
        yield replace(_folder(name, files), genuine=False, slow=slow)


def _folder(name: str, files: Callable[[], Files]) -> Good:
    return _media(name, lambda folder: [write_folder(files(), folder / "medium")])


def _file(name: str, files: Callable[[], Files]) -> Good:
    def make(folder: Path) -> list[Path]:
        (folder / f"{name}.mbundle").write_bytes(single_file(files()))
        return [folder / f"{name}.mbundle"]

    return replace(_media(name, make), data=lambda: single_file(files()))


def _media(name: str, make: Callable[[Path], Sequence[Path]]) -> Good:
    return Good(name=name, make=lambda folder: tuple(make(folder)))


def _spoilt(name: str, spoil: Callable[[Path], object]) -> Good:
    def make(folder: Path) -> list[Path]:
        medium = write_folder(bundle(), folder / "medium")
        spoil(medium)
        return [medium]

    return _media(name, make)


def _folders(*media: Files) -> Callable[[Path], list[Path]]:
    return lambda folder: [
        write_folder(files, folder / f"medium-{number}")
        for number, files in enumerate(media, start=1)
    ]


def _two_forms(folder: Path) -> list[Path]:
    first = folder / "first.mbundle"
    first.write_bytes(single_file(volume(1, of=2)))
    return [first, write_folder(volume(2, of=2), folder / "second")]


def _differential() -> Files:
    """Return a bundle that leaves out what the active version has."""
    old = DELIVERED[ACTIVE][0]
    new = DELIVERED[NEXT][1]
    files = bundle(old, new)
    kept = bundle(new)
    lacking = [p for p in files if p.startswith("c/") and p not in kept]
    digests = sorted(path[-64:] for path in kept if path.startswith("c/"))
    return {
        **{path: data for path, data in files.items() if path not in lacking},
        VOLUME_HINT_PATH: hint(since=ACTIVE, chunks=digests),
    }


def _beside(medium: Path) -> None:
    """Put beside the bundle what other systems leave, and what an attacker would."""
    (medium / "autorun.inf").write_bytes(b"[autorun]\nopen=evil.exe\n")
    (medium / ".Trashes").mkdir()
    (medium / "METADATA").mkdir()
    (medium / "cafe\u0301").touch()
    (medium / "caf\u00e9").touch()
    (medium / "models").symlink_to("/")
    (medium / "BUNDLE.txt").write_bytes(b"\x1b]0;evil\x07" * 1_000)
    os.mkfifo(medium / "install.py")


def _inside(medium: Path) -> None:
    """Put into the bundle's folders what its reader must pass over."""
    metadata = medium / METADATA_FOLDER
    for name in (
        "TIMESTAMP.JSON",
        "01.root.json",
        "2.root.json.bak",
        "timestamp.json~",
    ):
        (metadata / name).write_bytes(b"{")
    os.mkfifo(metadata / "fifo")
    (metadata / "link").symlink_to("/etc/passwd")
    (Path(os.fsdecode(bytes(metadata) + b"/\xff.json"))).touch()
    (medium / "c" / "zz").mkdir()
    (medium / "c" / "not-a-chunk").symlink_to("/")
    (medium / SITE[0]).with_name("0" * 64).write_bytes(b"of nobody")


def _hard_link(medium: Path) -> None:
    os.link(medium / SITE[0], medium.parent / "the-same-bytes")


def _behind_a_link(folder: Path) -> list[Path]:
    write_folder(bundle(), folder / "elsewhere")
    (folder / "medium").symlink_to("elsewhere")
    return [folder / "medium"]


def _old_metadata(medium: Path) -> None:
    shutil.rmtree(medium / METADATA_FOLDER)
    write_folder(
        {p: d for p, d in bundle(version=1).items() if not p.startswith("c/")}, medium
    )


def _another_folder(medium: Path) -> None:
    """Move the medium away, and put an older one in its place."""
    medium.rename(medium.with_name("moved"))
    write_folder(bundle(version=1), medium)


def _wheels(folder: Path) -> list[Path]:
    return [quick_pip(folder), tiny_wheel(folder, "demo")]


def _bill() -> Files:
    """Return a bundle with a bill of materials that no host may ever parse."""
    bill = Delivery(
        kind="sbom",
        name="bundle",
        path="sbom/bundle.cdx.json",
        data=b"[" * 2**20,
    )
    return bundle(*DELIVERED[NEXT], bill)
