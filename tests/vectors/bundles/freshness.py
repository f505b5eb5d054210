"""Bundles of another time: older ones, mixed ones, expired ones, two of one version.

``older`` and ``mixed`` need no key, only old media. What ``signed`` begins with
was signed by whoever holds the keys, by mistake or as a thief.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from appliance.import_steps.host import Step
from bundleformat.layout import (
    MANIFEST_PATH,
    TIMESTAMP_PATH,
    snapshot_path,
    targets_path,
)
from bundleformat.manifest import MAX_VERSION
from tests.support.publisher import NOW
from tests.vectors.bundles.case import (
    DIGEST,
    EQUIVOCATION,
    EXPIRED,
    LIMIT,
    MALFORMED,
    MISSING,
    ROLLBACK,
    Case,
    of_files,
)
from tests.vectors.bundles.estate import (
    ACTIVE,
    CREATED,
    KEYS,
    NEXT,
    Files,
    bundle,
    key,
    policy,
    root,
)
from tests.vectors.bundles.forge import (
    SNAPSHOT_PATH,
    TARGETS_PATH,
    put,
    resigned,
    resigned_with,
    revoke_bundler,
    root_2,
    with_manifest,
    without,
)

YESTERDAY = "2026-11-21T12:00:00Z"


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    yield of_files("older", ROLLBACK, TIMESTAMP_PATH, lambda: bundle(version=1))
    yield of_files(
        "older-under-a-new-bundler", ROLLBACK, "bundle", _older_by_a_new_bundler
    )
    yield from _mixed()
    yield from _expired()
    yield from _one_version()
    yield from _versions()
    yield from _absent()


def _mixed() -> Iterator[Case]:
    old = f"metadata/{ACTIVE}"
    for name, code, where, files in (
        (
            "snapshot",
            DIGEST,
            SNAPSHOT_PATH,
            _with_old(f"{old}.snapshot.json", SNAPSHOT_PATH),
        ),
        (
            "targets",
            DIGEST,
            TARGETS_PATH,
            _with_old(f"{old}.targets.json", TARGETS_PATH),
        ),
        ("manifest", DIGEST, MANIFEST_PATH, _with_old(MANIFEST_PATH, MANIFEST_PATH)),
        (
            "timestamp",
            MISSING,
            f"{old}.snapshot.json",
            _with_old(TIMESTAMP_PATH, TIMESTAMP_PATH),
        ),
    ):
        yield of_files(f"mixed-with-an-older-{name}", code, where, files)
    yield of_files(
        "mixed-with-all-older-metadata",
        DIGEST,
        MANIFEST_PATH,
        lambda: {
            **bundle(),
            **{
                p: d
                for p, d in bundle(version=ACTIVE).items()
                if p.startswith("metadata")
            },
        },
    )


def _expired() -> Iterator[Case]:
    yesterday = dt.datetime.fromisoformat(YESTERDAY)
    yield of_files(
        "expired", EXPIRED, TIMESTAMP_PATH, lambda: bundle(expires=yesterday)
    )
    yield of_files("expires-now", EXPIRED, TIMESTAMP_PATH, lambda: bundle(expires=NOW))
    for role, where in (
        ("timestamp", TIMESTAMP_PATH),
        ("snapshot", SNAPSHOT_PATH),
        ("targets", TARGETS_PATH),
    ):
        yield of_files(
            f"expired-{role}",
            EXPIRED,
            where,
            resigned_with(role, put(expires=YESTERDAY)),
        )
    # The newest accepted bundle was created after this one ended.
    before = CREATED[ACTIVE] - dt.timedelta(days=1)
    yield of_files(
        "ended-before-the-newest-was-made",
        EXPIRED,
        TIMESTAMP_PATH,
        lambda: bundle(expires=before),
    )
    yield of_files(
        "signed-as-made-after-its-own-end",
        MALFORMED,
        "created",
        lambda: with_manifest(lambda v: v.update(created="2126-01-01T00:00:00Z")),
    )
    yield of_files(
        "signed-to-expire-in-no-possible-month",
        MALFORMED,
        TIMESTAMP_PATH,
        lambda: resigned(
            bundle(), timestamp=lambda v: v.update(expires="2126-13-01T00:00:00Z")
        ),
    )


def _one_version() -> Iterator[Case]:
    other = policy("site", says="something else under the same number")
    yield of_files(
        "signed-twice-under-one-version",
        EQUIVOCATION,
        TIMESTAMP_PATH,
        lambda: bundle(other, version=ACTIVE),
    )
    yield of_files(
        "signed-twice-and-told-as-nothing-new",
        EQUIVOCATION,
        f"main {ACTIVE}",
        lambda: _active_again_by_a_new_bundler(other),
        step=Step.PREFLIGHT,
    )


def _versions() -> Iterator[Case]:
    def of(name: str, code: str, where: str, files: Callable[[], Files]) -> Case:
        return of_files(f"signed-{name}", code, where, files)

    for role, where in (("timestamp", TIMESTAMP_PATH), ("snapshot", SNAPSHOT_PATH)):
        for said, code, version in (
            ("0", MALFORMED, 0),
            ("minus-1", MALFORMED, -1),
            ("text", MALFORMED, "3"),
        ):
            yield of(
                f"{role}-of-version-{said}",
                code,
                where,
                resigned_with(role, put(version=version)),
            )
    for role, where in (
        ("timestamp", TIMESTAMP_PATH),
        ("snapshot", SNAPSHOT_PATH),
        ("targets", TARGETS_PATH),
    ):
        yield of(
            f"{role}-of-version-true",
            MALFORMED,
            f"{where}: 'version'",
            resigned_with(role, put(version=True)),
        )
    yield of(
        "timestamp-of-another-version",
        MISSING,
        "metadata/7.snapshot.json",
        resigned_with("timestamp", put(version=7)),
    )
    yield of(
        "snapshot-of-another-version",
        MALFORMED,
        SNAPSHOT_PATH,
        resigned_with("snapshot", put(version=7)),
    )
    yield of(
        "targets-of-another-version",
        MALFORMED,
        TARGETS_PATH,
        resigned_with("targets", put(version=7)),
    )
    yield of("fast-forward-by-the-timestamp", MALFORMED, "snapshot", _fast_forward)
    yield of(
        "timestamp-naming-an-older-snapshot",
        ROLLBACK,
        TIMESTAMP_PATH,
        lambda: resigned(
            bundle(), timestamp=lambda v: v["meta"]["snapshot.json"].update(version=1)
        ),
    )
    yield of(
        "snapshot-naming-older-targets",
        ROLLBACK,
        SNAPSHOT_PATH,
        lambda: resigned(
            bundle(), snapshot=lambda v: v["meta"]["targets.json"].update(version=1)
        ),
    )
    for said, code, version in (
        ("0", MALFORMED, 0),
        ("4", MALFORMED, 4),
        ("2-to-31", LIMIT, MAX_VERSION + 1),
        ("2-to-53", MALFORMED, 2**53),
    ):
        yield of(
            f"manifest-of-version-{said}",
            code,
            {"4": MANIFEST_PATH, "2-to-53": "manifest"}.get(said, "version"),
            partial(_manifest_of_version, version),
        )
    yield of(
        "specification-2",
        MALFORMED,
        TIMESTAMP_PATH,
        lambda: resigned(bundle(), timestamp=lambda v: v.update(spec_version="2.0.0")),
    )


def _absent() -> Iterator[Case]:
    for name, path in (
        ("timestamp", TIMESTAMP_PATH),
        ("snapshot", SNAPSHOT_PATH),
        ("targets", TARGETS_PATH),
        ("manifest", MANIFEST_PATH),
    ):
        yield of_files(f"without-{name}", MISSING, path, partial(without, path))
    yield of_files(
        "without-any-metadata",
        MISSING,
        "medium",
        lambda: {p: d for p, d in bundle().items() if not p.startswith("metadata")},
        step=Step.LOCK,
    )
    yield of_files(
        "draft-without-its-timestamp",
        MISSING,
        TIMESTAMP_PATH,
        lambda: without(TIMESTAMP_PATH, SNAPSHOT_PATH),
    )


def _with_old(path: str, place: str) -> Callable[[], Files]:
    return lambda: {**bundle(), place: bundle(version=ACTIVE)[path]}


def _older_by_a_new_bundler() -> Files:
    fresh = key("fresh bundler")
    return bundle(
        version=1,
        keys=replace(KEYS, bundler=fresh),
        roots=(root(), root_2(revoke_bundler(fresh))),
    )


def _active_again_by_a_new_bundler(other: object) -> Files:
    fresh = key("fresh bundler")
    return bundle(
        other,  # type: ignore[arg-type]
        version=ACTIVE,
        keys=replace(KEYS, bundler=fresh),
        roots=(root(), root_2(revoke_bundler(fresh))),
    )


def _fast_forward() -> Files:
    """Return what the bundler's key alone can make of the highest version."""
    files = resigned(bundle(), timestamp=lambda v: v.update(version=MAX_VERSION))
    return {
        **files,
        snapshot_path(MAX_VERSION): files[SNAPSHOT_PATH],
        targets_path(MAX_VERSION): files[TARGETS_PATH],
    }


def _manifest_of_version(version: int) -> Files:
    files = bundle()
    said = f'"version":{NEXT}'.encode()
    data = files[MANIFEST_PATH].replace(said, f'"version":{version}'.encode())
    return resigned(files, manifest=data)
