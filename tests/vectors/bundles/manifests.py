"""Manifests that say what cannot be, or more than a host should believe.

Every one of them is signed: the publisher was deceived, or is the attacker.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from appliance.import_steps.host import Step
from bundleformat.artifact import Environment
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.paths import Name
from tests.support.publisher import TERMS
from tests.vectors.bundles.case import (
    DIGEST,
    LIMIT,
    MALFORMED,
    UNSUITABLE,
    Case,
    of_files,
)
from tests.vectors.bundles.estate import (
    Delivery,
    Files,
    bundle,
)
from tests.vectors.bundles.forge import Change, Value, with_manifest

MODEL: Final = Delivery(
    kind="model",
    name="model",
    path="models/model.gguf",
    data=b"not looked at: the manifest is refused before\n",
    model=TERMS,
)

WHEEL: Final = Delivery(
    kind="wheel",
    name="demo-1.0-py3-none-any",
    path="wheels/demo-1.0-py3-none-any.whl",
    data=b"not looked at either\n",
)

ENVIRONMENT: Final = Environment(
    python="3.11",
    platform="linux_x86_64",
    glibc="2.17",
    cpu="x86-64",
    role="appliance",
    wheels=(Name(WHEEL.name),),
)

LOCK: Final = Delivery(
    kind="lock",
    name="tools",
    path="locks/pylock.tools.toml",
    data=b"# a lock\n",
    environment=ENVIRONMENT,
)

REQUIREMENTS: Final = Delivery(
    kind="requirements",
    name="tools",
    path="locks/tools.requirements.txt",
    data=b"# requirements\n",
)


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    yield from _fields()
    yield from _sizes()
    yield from _models()
    yield from _references()
    yield from _not_for_this_host()


def _fields() -> Iterator[Case]:
    yield _of("field-too-many", "admin", lambda v: v.update(admin=1))
    yield _of("field-absent", "purpose", lambda v: v.pop("purpose"))
    yield _of("format-2", "format", lambda v: v.update(format=2))
    yield _of("format-true", "format", lambda v: v.update(format=True))
    yield _of("kind-unknown", "artifacts[0].kind", _put(kind="script"))
    yield _of("kind-of-another", "artifacts[0].path", _put(kind="wheel"))
    yield _of(
        "artifact-that-is-a-text", "artifacts[0]", lambda v: v.update(artifacts=["x"])
    )
    yield _of("artifacts-that-are-none", "purpose", lambda v: v.update(artifacts=[]))
    yield _of(
        "artifacts-in-another-order", "artifacts", lambda v: v["artifacts"].reverse()
    )
    yield _of(
        "purpose-trust-with-content", "purpose", lambda v: v.update(purpose="trust")
    )
    yield _of("purpose-unknown", "purpose", lambda v: v.update(purpose="root"))
    yield _of("digest-unknown", "digest", lambda v: v.update(digest="md5"))
    yield _of(
        "digest-of-another", "artifacts[0].sha384", lambda v: v.update(digest="sha384")
    )
    yield _of(
        "time-in-another-spelling", "created", lambda v: v.update(created="2026-11-20")
    )
    yield _of(
        "time-that-is-none",
        "created",
        lambda v: v.update(created="2026-02-30T00:00:00Z"),
    )
    yield _of(
        "minimum-version-of-no-numbers",
        "minimum_version",
        lambda v: v.update(minimum_version="latest"),
    )


def _sizes() -> Iterator[Case]:
    first, chunk = "artifacts[0]", "artifacts[0].chunks[0]"
    for said, size, code in (
        ("0", 0, MALFORMED),
        ("minus-1", -1, MALFORMED),
        ("true", True, MALFORMED),
        ("a-text", "131", MALFORMED),
        ("2-to-53-less-1", 2**53 - 1, LIMIT),
    ):
        yield _of(f"size-{said}", f"{first}.size_bytes", _put(size_bytes=size), code)
        yield _of(
            f"chunk-size-{said}", f"{chunk}.size_bytes", _chunk(size_bytes=size), code
        )
    yield _of(
        "size-of-a-policy-above-its-limit",
        f"{first}.size_bytes",
        _put(size_bytes=DEFAULT_LIMITS.policy_bytes + 1),
        LIMIT,
    )
    yield _of(
        "chunk-of-more-than-a-gibibyte",
        f"{chunk}.size_bytes",
        _chunk(size_bytes=2**30 + 1),
        LIMIT,
    )
    yield _of("size-that-its-chunks-are-not", f"{first}.size_bytes", _put(size_bytes=7))
    yield _of("chunks-that-are-none", f"{first}.size_bytes", _put(chunks=[]))
    yield _of(
        "chunk-without-a-size",
        f"{chunk}.size_bytes",
        lambda v: _first(v).pop("size_bytes"),
    )
    yield _of("chunk-with-more", f"{chunk}.offset", _chunk(offset=0))
    yield _of("chunk-of-two-sizes", "", _two_sizes)
    # Every chunk is as signed, and their whole is not.
    yield of_files(
        "whole-of-another-digest",
        DIGEST,
        "policies/site.cedar",
        lambda: with_manifest(_put(sha256="ab" * 32)),
        step=Step.COPY,
    )
    yield of_files(
        "whole-in-another-order",
        DIGEST,
        "policies/site.cedar",
        lambda: with_manifest(
            lambda v: v["artifacts"][0]["chunks"].insert(
                0, v["artifacts"][0]["chunks"].pop()
            )
        ),
        step=Step.COPY,
    )


def _models() -> Iterator[Case]:
    def of(name: str, where: str, code: str = MALFORMED, **said: Any) -> Case:
        return of_files(
            f"model-{name}",
            code,
            f"artifacts[0].model{where}",
            lambda: _signed_model(lambda v: v["artifacts"][0]["model"].update(said)),
        )

    yield of("for-no-region", ".allowed_regions", allowed_regions=[])
    yield of("for-a-region-twice", ".allowed_regions", allowed_regions=["a", "a"])
    yield of("for-a-region-in-capitals", ".allowed_regions[0]", allowed_regions=["IN"])
    yield of(
        "for-a-region-that-climbs", ".allowed_regions[0]", allowed_regions=["../in"]
    )
    yield of(
        "for-65-regions",
        ".allowed_regions",
        LIMIT,
        allowed_regions=[f"r{n:02}" for n in range(65)],
    )
    yield of("with-an-escape-in-its-licence", ".licence", licence="\x1b[31mMIT")
    yield of("with-a-licence-from-right-to-left", ".licence", licence="\u202eTIM")
    yield of("with-a-long-origin", ".origin", LIMIT, origin="x" * 513)
    yield of("of-no-context", ".context_length", context_length=0)
    yield of(
        "of-a-context-beyond-its-limit", ".context_length", LIMIT, context_length=2**31
    )
    yield of("to-be-reviewed-on-no-day", ".review_by", review_by="2026-02-30")
    yield of("of-one-part", ".parts", parts=["0" * 64])
    yield of_files(
        "model-without-its-terms",
        MALFORMED,
        "artifacts[0].model",
        lambda: _signed_model(lambda v: v["artifacts"][0].pop("model")),
    )
    yield _of("policy-with-terms-of-a-model", "artifacts[0].model", _put(model={}))


def _references() -> Iterator[Case]:
    def of(name: str, where: str, *deliveries: Delivery) -> Case:
        return of_files(name, MALFORMED, where, lambda: bundle(*deliveries))

    yield of("lock-of-an-absent-wheel", LOCK.path, LOCK, REQUIREMENTS)
    yield of("lock-without-requirements", LOCK.path, LOCK, WHEEL)
    yield of("requirements-without-a-lock", REQUIREMENTS.path, REQUIREMENTS)
    yield of(
        "part-of-no-model",
        "artifacts",
        replace(MODEL, kind="part", name="part", path="models/part.gguf", model=None),
    )
    yield of(
        "model-of-absent-parts",
        "artifacts",
        replace(
            MODEL,
            model=replace(TERMS, parts=(MODEL.artifact().sha256, "ab" * 32)),  # type: ignore[arg-type]
        ),
    )


def _not_for_this_host() -> Iterator[Case]:
    def of(name: str, where: str, files: Callable[[], Files]) -> Case:
        return of_files(name, UNSUITABLE, where, files, step=Step.PREFLIGHT)

    yield of(
        "for-a-newer-program",
        "minimum_version",
        lambda: with_manifest(lambda v: v.update(minimum_version="99999.0.0")),
    )
    for name, said in (
        ("python", {"python": "3.99"}),
        ("c-library", {"glibc": "9.999"}),
    ):
        lock = replace(LOCK, environment=replace(ENVIRONMENT, **said))  # type: ignore[arg-type]
        yield of(
            f"appliance-for-another-{name}",
            "tools",
            partial(bundle, lock, REQUIREMENTS, WHEEL),
        )


def _of(name: str, where: str, change: Change, code: str = MALFORMED) -> Case:
    return of_files(name, code, where, lambda: with_manifest(change))


def _put(**said: Any) -> Change:
    return lambda value: value["artifacts"][0].update(said)


def _first(value: Value) -> Value:
    chunk: Value = value["artifacts"][0]["chunks"][0]
    return chunk


def _chunk(**said: Any) -> Change:
    return lambda value: _first(value).update(said)


def _two_sizes(value: Value) -> None:
    one, other = (each["chunks"][0] for each in value["artifacts"][:2])
    other["sha256"] = one["sha256"]


def _signed_model(change: Change) -> Files:
    files = bundle(MODEL)
    return with_manifest(change, files=files)
