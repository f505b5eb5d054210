"""Artifacts of every kind: what each may say, and what a bundle must hold with it."""

from collections.abc import Callable
from typing import Any

import pytest

from bundleformat import strictjson
from bundleformat.digest import sha256_of
from bundleformat.errors import LimitExceededError, MalformedError
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.manifest import (
    Manifest,
    encode_manifest,
    model_digest,
    parse_manifest,
)

Edit = Callable[[dict[str, Any]], None]


def artifact(kind: str, name: str, path: str, **more: Any) -> dict[str, Any]:
    data = path.encode()
    said = {"sha256": sha256_of(data), "size_bytes": len(data)}
    return {"kind": kind, "name": name, "path": path, "chunks": [said], **said, **more}


def example() -> dict[str, Any]:
    """Return a manifest with an artifact of every kind, by path."""
    first, second = "models/big-00001-of-00002.gguf", "models/big-00002-of-00002.gguf"
    terms = {
        "licence": "MIT",
        "origin": "here",
        "allowed_regions": ["in-blr"],
        "architecture": "llama",
        "context_length": 512,
        "intended_use": "drafts of letters",
        "review_by": "2027-06-30",
        "parts": [sha256_of(first.encode()), sha256_of(second.encode())],
    }
    environment = {
        "python": "3.11",
        "platform": "linux_x86_64",
        "glibc": "2.34",
        "cpu": "x86-64-v3",
        "role": "team",
        "wheels": ["tiny-1.0+cpu-py3-none-any"],
    }
    provenance = {"mode": "key", "anchor": "AAEC", "signer": "a vendor"}
    sizes = {"unpacked_bytes": 900, "python_bytes": 700, "files": 4}
    return {
        "format": 1,
        "channel": "main",
        "version": 1,
        "created": "2026-11-22T08:00:00Z",
        "digest": "sha256",
        "purpose": "content",
        "minimum_version": "0.1.0",
        "artifacts": [
            artifact("installer", "install.py", "installer/install.py"),
            artifact(
                "lock", "tools", "locks/pylock.tools.toml", environment=environment
            ),
            artifact("requirements", "tools", "locks/tools.requirements.txt"),
            artifact("model", "big", first, model=terms),
            artifact("part", "big-00002-of-00002", second),
            artifact("policy", "site", "policies/site.cedar"),
            artifact("provenance", "big", "provenance/big.sig", provenance=provenance),
            artifact("sbom", "bundle", "sbom/bundle.cdx.json"),
            artifact(
                "wheel",
                "tiny-1.0+cpu-py3-none-any",
                "wheels/tiny-1.0+cpu-py3-none-any.whl",
                wheel=sizes,
            ),
        ],
    }


def parse(document: dict[str, Any], limits: Limits = DEFAULT_LIMITS) -> Manifest:
    return parse_manifest(strictjson.encode(document), limits=limits)


def of(kind: str) -> int:
    kinds = [each["kind"] for each in example()["artifacts"]]
    return kinds.index(kind)


def put(kind: str, *path: Any) -> Edit:
    *way, key, value = path

    def edit(document: dict[str, Any]) -> None:
        place: Any = document["artifacts"][of(kind)]
        for step in way:
            place = place[step]
        place[key] = value

    return edit


def drop(kind: str) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        del document["artifacts"][of(kind)]

    return edit


ENVIRONMENT = f"artifacts[{of('lock')}].environment"
WHEEL = f"artifacts[{of('wheel')}].wheel"
PROVENANCE = f"artifacts[{of('provenance')}].provenance"

MALFORMED = [
    (put("lock", "environment", "python", "3"), f"{ENVIRONMENT}.python"),
    (put("lock", "environment", "python", "3.011"), f"{ENVIRONMENT}.python"),
    (put("lock", "environment", "glibc", "latest"), f"{ENVIRONMENT}.glibc"),
    (put("lock", "environment", "cpu", "x86-64-v9"), f"{ENVIRONMENT}.cpu"),
    (put("lock", "environment", "platform", "win"), f"{ENVIRONMENT}.platform"),
    (put("lock", "environment", "role", "root"), f"{ENVIRONMENT}.role"),
    (put("lock", "environment", "wheels", []), f"{ENVIRONMENT}.wheels"),
    (put("lock", "environment", "wheels", ["b", "a"]), f"{ENVIRONMENT}.wheels"),
    (put("lock", "environment", "wheels", [1]), f"{ENVIRONMENT}.wheels[0]"),
    (put("lock", "environment", "extra", 1), f"{ENVIRONMENT}.extra"),
    (put("lock", "environment", "wheels", ["none"]), "locks/pylock.tools.toml"),
    (drop("requirements"), "locks/pylock.tools.toml"),
    (drop("lock"), "locks/tools.requirements.txt"),
    (drop("wheel"), "locks/pylock.tools.toml"),
    (drop("part"), "artifacts"),
    (drop("model"), "provenance/big.sig"),
    (put("provenance", "provenance", "mode", "sigstore"), f"{PROVENANCE}.mode"),
    (put("provenance", "provenance", "anchor", "AAE"), f"{PROVENANCE}.anchor"),
    (put("provenance", "provenance", "anchor", "AA\u0661="), f"{PROVENANCE}.anchor"),
    (put("provenance", "name", "other"), "provenance/big.sig"),
    (put("wheel", "name", "Tiny"), f"artifacts[{of('wheel')}].name"),
    (put("wheel", "wheel", None), WHEEL),
    (put("wheel", "wheel", {}), f"{WHEEL}.unpacked_bytes"),
    (put("wheel", "wheel", "unpacked_bytes", 0), f"{WHEEL}.unpacked_bytes"),
    (put("wheel", "wheel", "python_bytes", -1), f"{WHEEL}.python_bytes"),
    (put("wheel", "wheel", "files", 0), f"{WHEEL}.files"),
    (put("wheel", "wheel", "files", "4"), f"{WHEEL}.files"),
    (put("wheel", "wheel", "extra", 1), f"{WHEEL}.extra"),
    (put("sbom", "wheel", {}), f"artifacts[{of('sbom')}].wheel"),
    (put("sbom", "environment", {}), f"artifacts[{of('sbom')}].environment"),
]


def test_an_artifact_of_every_kind_survives_its_encoding() -> None:
    manifest = parse(example())
    assert encode_manifest(manifest) == strictjson.encode(example())


@pytest.mark.parametrize(
    ("edit", "where"), MALFORMED, ids=[f"{i}-{w}" for i, (_, w) in enumerate(MALFORMED)]
)
def test_an_error_names_the_place(edit: Edit, where: str) -> None:
    document = example()
    edit(document)
    with pytest.raises(MalformedError) as caught:
        parse(document)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "limits",
    [
        Limits(wheel_bytes=9),
        Limits(text_bytes=9),
        Limits(provenance_bytes=9),
        Limits(installer_bytes=9),
        Limits(model_parts=1),
        Limits(anchor_characters=3),
        Limits(unpacked_bytes=899),
        Limits(wheel_files=3),
    ],
)
def test_every_limit_is_enforced(limits: Limits) -> None:
    with pytest.raises(LimitExceededError):
        parse(example(), limits)


def test_a_wheel_holds_no_more_python_than_it_holds() -> None:
    document = example()
    put("wheel", "wheel", "python_bytes", 901)(document)
    with pytest.raises(LimitExceededError) as caught:
        parse(document)
    assert caught.value.where == f"{WHEEL}.python_bytes"


def test_a_manifest_that_says_no_sizes_of_a_wheel_is_read_as_it_was() -> None:
    document = example()
    del document["artifacts"][of("wheel")]["wheel"]
    manifest = parse(document)
    assert manifest.artifacts[of("wheel")].wheel is None
    assert encode_manifest(manifest) == strictjson.encode(document)


def test_a_split_model_is_known_by_all_of_its_parts() -> None:
    model = parse(example()).artifacts[of("model")]
    assert model.model is not None
    assert model_digest(model) == sha256_of("\n".join(model.model.parts).encode())
    assert model_digest(model) != model.sha256


def test_another_part_makes_another_model() -> None:
    document = example()
    before = model_digest(parse(document).artifacts[of("model")])
    again = artifact("part", "big-00002-of-00002", "models/big-00002-of-00002.gguf")
    again["sha256"] = "0" * 64
    document["artifacts"][of("part")] = again
    document["artifacts"][of("model")]["model"]["parts"][1] = "0" * 64
    assert model_digest(parse(document).artifacts[of("model")]) != before
