import datetime as dt
import itertools
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat import strictjson
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import (
    FOLDERS,
    FORMAT,
    Artifact,
    Chunk,
    Digest,
    Kind,
    Manifest,
    ModelTerms,
    encode_manifest,
    parse_manifest,
)
from bundleformat.paths import parse_name, parse_path

NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12).filter(
    lambda text: (
        text not in {"con", "prn", "aux", "nul"} and text[:3] not in {"com", "lpt"}
    )
)
PRINTABLE = st.text(
    st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20
).filter(str.isprintable)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda b: Sha256(b.hex()))
MOMENTS = st.datetimes(timezones=st.just(dt.UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
TERMS = st.builds(
    ModelTerms,
    licence=PRINTABLE,
    origin=PRINTABLE,
    allowed_regions=st.sets(NAMES, min_size=1, max_size=4).map(
        lambda found: tuple(sorted(found))
    ),
    architecture=PRINTABLE,
    context_length=st.integers(1, 2**31 - 1),
    intended_use=st.none() | PRINTABLE,
    review_by=st.none() | st.dates().map(lambda day: day.isoformat()),
)


@st.composite
def artifacts(draw: st.DrawFn, kind: Kind, name: str, digest: Digest) -> Artifact:
    def long(sha256: str) -> str | None:
        return sha256 + sha256[:32] if digest == "sha384" else None

    whole = draw(DIGESTS)
    # The size follows from the digest, so that no chunk has two sizes.
    chunks = tuple(
        Chunk(sha256=digest, size_bytes=int(digest[:4], 16) + 1, sha384=long(digest))
        for digest in draw(st.lists(DIGESTS, min_size=1, max_size=3))
    )
    return Artifact(
        kind=kind,
        name=parse_name(name),
        path=parse_path(f"{FOLDERS[kind]}/{name}.bin"),
        size_bytes=sum(chunk.size_bytes for chunk in chunks),
        sha256=whole,
        sha384=long(whole),
        chunks=chunks,
        model=draw(TERMS) if kind == "model" else None,
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    digest: Digest = draw(st.sampled_from(("sha256", "sha384")))
    models = sorted(draw(st.sets(NAMES, max_size=3)))
    policies = sorted(draw(st.sets(NAMES, max_size=2)))
    found = [
        *(draw(artifacts("model", name, digest)) for name in models),
        *(draw(artifacts("policy", name, digest)) for name in policies),
    ]
    return Manifest(
        format=FORMAT,
        channel=parse_name(draw(NAMES)),
        version=draw(st.integers(1, 2**31 - 1)),
        created=draw(MOMENTS),
        artifacts=tuple(sorted(found, key=lambda item: item.path)),
        digest=digest,
        purpose="content" if found else "trust",
        minimum_version=draw(st.none() | st.just("0.1.0")),
    )


def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Manifest:
    return parse_manifest(data, limits=limits)


@given(manifests())
def test_a_manifest_survives_its_encoding(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert parse(data) == manifest
    assert encode_manifest(parse(data)) == data


def example() -> dict[str, Any]:
    data = b"x" * 10
    chunk = {"sha256": sha256_of(data), "size_bytes": 10}
    return {
        "format": 1,
        "channel": "main",
        "version": 1,
        "created": "2026-11-22T08:00:00Z",
        "digest": "sha256",
        "purpose": "content",
        "artifacts": [
            {
                "kind": "model",
                "name": "m",
                "path": "models/m.gguf",
                "size_bytes": 10,
                "sha256": sha256_of(data),
                "chunks": [chunk],
                "model": {
                    "licence": "Apache-2.0",
                    "origin": "here",
                    "allowed_regions": ["in-blr", "in-bom"],
                    "architecture": "llama",
                    "context_length": 512,
                },
            },
            {
                "kind": "policy",
                "name": "p",
                "path": "policies/p.cedar",
                "size_bytes": 10,
                "sha256": sha256_of(data),
                "chunks": [chunk],
            },
        ],
    }


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return an edit that sets the value at a key path, given last."""
    *way, key, value = path

    def edit(document: Any) -> None:
        for step in way:
            document = document[step]
        document[key] = value

    return edit


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, key = path

    def edit(document: Any) -> None:
        for step in way:
            document = document[step]
        del document[key]

    return edit


MODEL = ("artifacts", 0)
YES: Any = True
TERM = (*MODEL, "model")

MALFORMED = [
    (put("format", 2), "format"),
    (put("format", "1"), "format"),
    (put("extra", 1), "extra"),
    (drop("channel"), "channel"),
    (put("channel", "Main"), "channel"),
    (put("channel", ""), "channel"),
    (put("version", 0), "version"),
    (put("version", YES), "version"),
    (put("created", "2026-11-22T08:00:00+00:00"), "created"),
    (put("created", "2026-13-22T08:00:00Z"), "created"),
    (put("artifacts", {}), "artifacts"),
    (put("artifacts", [1]), "artifacts[0]"),
    (put("digest", "md5"), "digest"),
    (drop("digest"), "digest"),
    (put("digest", "sha384"), "artifacts[0].sha384"),
    (put("purpose", "trust"), "purpose"),
    (put("artifacts", []), "purpose"),
    (put("minimum_version", "1.0"), "minimum_version"),
    (put("minimum_version", "1.0.01"), "minimum_version"),
    (put(*MODEL, "kind", "driver"), "artifacts[0].kind"),
    (put(*MODEL, "kind", "wheel"), "artifacts[0].path"),
    (put(*MODEL, "sha384", "a" * 96), "artifacts[0].sha384"),
    (put(*TERM, "review_by", "2026-11-31"), "artifacts[0].model.review_by"),
    (put(*TERM, "review_by", "20261130"), "artifacts[0].model.review_by"),
    (put(*TERM, "intended_use", ""), "artifacts[0].model.intended_use"),
    (put(*TERM, "intended_use", None), "artifacts[0].model.intended_use"),
    (put(*TERM, "parts", [sha256_of(b"x" * 10)]), "artifacts[0].model.parts"),
    (put(*TERM, "parts", ["0" * 64] * 2), "artifacts[0].model.parts"),
    (put(*TERM, "parts", [sha256_of(b"x" * 10), "0" * 64]), "artifacts"),
    (put(*MODEL, "name", "../m"), "artifacts[0].name"),
    (put(*MODEL, "path", "models/../m"), "artifacts[0].path"),
    (put(*MODEL, "path", "/models/m"), "artifacts[0].path"),
    (put(*MODEL, "path", "policies/m"), "artifacts[0].path"),
    (put(*MODEL, "size_bytes", 11), "artifacts[0].size_bytes"),
    (put(*MODEL, "size_bytes", 0), "artifacts[0].size_bytes"),
    (put(*MODEL, "size_bytes", YES), "artifacts[0].size_bytes"),
    (put(*MODEL, "sha256", "00"), "artifacts[0].sha256"),
    (put(*MODEL, "sha256", "A" * 64), "artifacts[0].sha256"),
    (put(*MODEL, "chunks", []), "artifacts[0].size_bytes"),
    (put(*MODEL, "chunks", 0, "size_bytes", -1), "artifacts[0].chunks[0].size_bytes"),
    (put(*MODEL, "chunks", 0, "offset", 0), "artifacts[0].chunks[0].offset"),
    (put(*MODEL, "extra", 1), "artifacts[0].extra"),
    (drop(*TERM), "artifacts[0].model"),
    (put(*TERM, "licence", "a\x1b[31m"), "artifacts[0].model.licence"),
    (put(*TERM, "origin", "right\u202eleft"), "artifacts[0].model.origin"),
    (put(*TERM, "allowed_regions", []), "artifacts[0].model.allowed_regions"),
    (
        put(*TERM, "allowed_regions", ["in-bom", "in-blr"]),
        "artifacts[0].model.allowed_regions",
    ),
    (
        put(*TERM, "allowed_regions", ["in-blr", "in-blr"]),
        "artifacts[0].model.allowed_regions",
    ),
    (put(*TERM, "allowed_regions", [1]), "artifacts[0].model.allowed_regions[0]"),
    (put(*TERM, "context_length", 0), "artifacts[0].model.context_length"),
    (put("artifacts", 1, "model", {}), "artifacts[1].model"),
]


@pytest.mark.parametrize(
    ("edit", "where"), MALFORMED, ids=[f"{i}-{w}" for i, (_, w) in enumerate(MALFORMED)]
)
def test_an_error_names_the_key_path(
    edit: Callable[[dict[str, Any]], None], where: str
) -> None:
    document = example()
    parse(strictjson.encode(document))
    edit(document)
    with pytest.raises(MalformedError) as caught:
        parse(strictjson.encode(document))
    assert caught.value.where == where


def test_artifacts_have_one_order() -> None:
    document = example()
    document["artifacts"].reverse()
    with pytest.raises(MalformedError) as caught:
        parse(strictjson.encode(document))
    assert caught.value.where == "artifacts"


@pytest.mark.parametrize("path", ["models/m.gguf", "models/M.gguf"])
def test_no_two_artifacts_share_a_path_even_in_another_case(path: str) -> None:
    document = example()
    second = {**document["artifacts"][0], "name": "n", "path": path}
    document["artifacts"].insert(1, second)
    with pytest.raises(MalformedError):
        parse(strictjson.encode(document))


def test_no_two_models_share_a_name() -> None:
    document = example()
    second = {**document["artifacts"][0], "path": "models/n.gguf"}
    document["artifacts"].insert(1, second)
    with pytest.raises(MalformedError):
        parse(strictjson.encode(document))


def test_one_chunk_has_one_size() -> None:
    document = example()
    policy = document["artifacts"][1]
    policy["size_bytes"] = 11
    policy["chunks"] = [{**policy["chunks"][0], "size_bytes": 11}]
    with pytest.raises(MalformedError) as caught:
        parse(strictjson.encode(document))
    assert caught.value.where == f"chunk {policy['chunks'][0]['sha256']}"


@pytest.mark.parametrize(
    ("limits", "where"),
    [
        (Limits(manifest_bytes=100), "manifest"),
        (Limits(json_depth=3), "manifest"),
        (Limits(artifacts=1), "artifacts"),
        (Limits(artifact_bytes=9), "artifacts[0].size_bytes"),
        (Limits(policy_bytes=9), "artifacts[1].size_bytes"),
        (Limits(chunk_bytes=9), "artifacts[0].chunks[0].size_bytes"),
        (Limits(chunks=1), "artifacts"),
        (Limits(chunks=0), "artifacts[0].chunks"),
        (Limits(regions=1), "artifacts[0].model.allowed_regions"),
        (Limits(text_characters=3), "artifacts[0].model.licence"),
        (Limits(context_tokens=511), "artifacts[0].model.context_length"),
    ],
)
def test_every_limit_is_enforced(limits: Limits, where: str) -> None:
    with pytest.raises(LimitExceededError) as caught:
        parse(strictjson.encode(example()), limits)
    assert caught.value.where == where


def test_bytes_that_are_not_canonical_are_refused() -> None:
    data = strictjson.encode(example())
    for changed in (data + b"\n", data.replace(b":", b": ", 1), data[:-1]):
        with pytest.raises(MalformedError):
            parse(changed)


def test_every_changed_byte_is_refused_or_gives_another_manifest() -> None:
    data = strictjson.encode(example())
    good = parse(data)
    for position, flip in itertools.product(range(len(data)), (1, 0x20)):
        changed = bytearray(data)
        changed[position] ^= flip
        try:
            other = parse(bytes(changed))
        except (MalformedError, LimitExceededError):
            continue
        assert other != good
        assert encode_manifest(other) == bytes(changed)
