"""A person who signs is shown everything that the signed bytes decide."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bundleformat.artifact import (
    Artifact,
    Chunk,
    Environment,
    Kind,
    Provenance,
)
from bundleformat.artifact_json import artifact_value
from bundleformat.digest import sha256_of
from bundleformat.manifest import FORMAT, Manifest, encode_manifest
from bundleformat.paths import ArchivePath, Name
from bundler.cli import output
from bundler.rooms.subject import Subject, open_subject, request_for
from bundler.rooms.view import subject_lines, subject_value
from bundler.roots.first import first_root
from bundler.signing.publish import unsigned_targets
from tests.support.publisher import BUNDLE_EXPIRES, NOW, TERMS, new_keys
from tests.support.root_folder import plan_of

ANCHOR = b"the DER form of a key"
SPLIT = ("tiny-00001-of-00002", "tiny-00002-of-00002")


def artifact(kind: Kind, name: str, path: str, **more: Any) -> Artifact:
    data = f"{kind} {name}".encode()
    digest, longer = sha256_of(data), hashlib.sha384(data).hexdigest()
    chunk = Chunk(sha256=digest, size_bytes=len(data), sha384=longer)
    return Artifact(
        kind=kind,
        name=Name(name),
        path=ArchivePath(path),
        size_bytes=len(data),
        sha256=digest,
        sha384=longer,
        chunks=(chunk,),
        **more,
    )


def every_kind() -> tuple[Artifact, ...]:
    part = artifact("part", SPLIT[1], f"models/{SPLIT[1]}.gguf")
    model = artifact("model", "tiny", f"models/{SPLIT[0]}.gguf", model=TERMS)
    terms = replace(
        TERMS,
        intended_use="for a test",
        review_by="2027-01-31",
        parts=(model.sha256, part.sha256),
    )
    environment = Environment(
        python="3.11",
        platform="linux_x86_64",
        glibc="2.34",
        cpu="x86-64-v3",
        role="team",
        wheels=(Name("odd-1.0-py3-none-any"),),
    )
    provenance = Provenance(
        mode="certificate",
        anchor=base64.b64encode(ANCHOR).decode(),
        signer="CN=vendor",
    )
    return (
        artifact("lock", "tools", "locks/pylock.tools.toml", environment=environment),
        artifact("requirements", "tools", "locks/tools.requirements.txt"),
        replace(model, model=terms),
        part,
        artifact("policy", "site", "policies/site.cedar"),
        artifact("provenance", "tiny", "provenance/tiny.sig", provenance=provenance),
        artifact("sbom", "all", "sbom/all.cdx.json"),
        artifact("wheel", "odd-1.0-py3-none-any", "wheels/Odd-1.0-py3-none-any.whl"),
    )


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A draft of a bundle that delivers an artifact of every kind with a form."""
    manifest = Manifest(
        format=FORMAT,
        channel=Name("main"),
        version=1,
        created=NOW,
        artifacts=every_kind(),
        digest="sha384",
        minimum_version="0.1.0",
    )
    root = first_root(plan_of(new_keys(), signing=(0,), threshold=1))
    request = request_for(
        "targets",
        unsigned_targets(manifest, expires=BUNDLE_EXPIRES),
        roots=(root,),
        manifest=encode_manifest(manifest),
    )
    return open_subject(request)


def leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield str(value)


@pytest.mark.parametrize("item", every_kind(), ids=lambda item: item.kind)
def test_everything_said_of_an_artifact_is_shown(
    item: Artifact, subject: Subject
) -> None:
    value = artifact_value(item)
    del value["chunks"]
    if item.provenance is not None:
        value["provenance"]["anchor"] = sha256_of(ANCHOR)
    text = "\n".join(subject_lines(subject))
    assert [one for one in leaves(value) if one not in text] == []


def test_machines_are_shown_what_the_manifest_says(subject: Subject) -> None:
    shown = subject_value(subject)["manifest"]["artifacts"]
    assert shown == [
        {**artifact_value(item), "chunks": len(item.chunks)} for item in every_kind()
    ]


def test_what_is_shown_cannot_drive_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "a\x1b[2J\r\u202eb\x9b1A\x7f\nrelease gains  nothing"
    output.show({}, (hostile,), as_json=False)
    output.show({"a": hostile}, (), as_json=True)
    output.note(hostile)
    out, err = capsys.readouterr()
    assert [line.isprintable() for line in (*out.splitlines(), *err.splitlines())] == [
        True,
        True,
        True,
    ]
