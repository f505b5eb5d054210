"""Models from an Ollama store on disk: hostile and broken stores first."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundleformat.errors import (
    DigestMismatchError,
    Error,
    LimitExceededError,
    MalformedError,
    MissingError,
)
from bundler.errors import SpecError
from bundler.sources.located import LocatedModel, OnDisk
from bundler.sources.ollama import MAX_MANIFEST_BYTES, locate
from bundler.sources.wanted import OllamaModel

MODEL = b"GGUF and so on"
LICENCE = b"\n  LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\x1b[2J\nmore\n"
PREFIX = "application/vnd.ollama.image."


@dataclass
class OllamaStore:
    """A store as Ollama writes it."""

    folder: Path

    @property
    def manifest_path(self) -> Path:
        return self.folder / "manifests/registry.ollama.ai/library/tiny/1b"

    def blob(self, data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / "blobs" / f"sha256-{digest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {
            "mediaType": kind if "/" in kind else PREFIX + kind,
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    def write(self, *layers: dict[str, Any]) -> None:
        value = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": self.blob(
                b"{}", "application/vnd.docker.container.image.v1+json"
            ),
            "layers": list(layers),
        }
        self.manifest_path.parent.mkdir(parents=True, exist_ok=True)
        self.manifest_path.write_text(json.dumps(value))

    @property
    def model_blob(self) -> Path:
        return self.folder / "blobs" / f"sha256-{hashlib.sha256(MODEL).hexdigest()}"


@pytest.fixture
def store(tmp_path: Path) -> OllamaStore:
    store = OllamaStore(tmp_path / "models")
    store.write(
        store.blob(MODEL, "model"),
        store.blob(b"{{ .Prompt }}", "template"),
        store.blob(LICENCE, "license"),
        store.blob(b'{"stop":["x"]}', "params"),
    )
    return store


def find(store: OllamaStore) -> LocatedModel:
    return locate(
        OllamaModel(
            store=store.folder,
            host="registry.ollama.ai",
            namespace="library",
            name="tiny",
            tag="1b",
        )
    )


def refused(store: OllamaStore, kind: type[Error]) -> Error:
    before = {path: path.lstat().st_mtime_ns for path in store.folder.rglob("*")}
    with pytest.raises(kind) as caught:
        find(store)
    assert {p: p.lstat().st_mtime_ns for p in store.folder.rglob("*")} == before
    return caught.value


def test_what_is_not_in_the_store_is_named(store: OllamaStore) -> None:
    store.manifest_path.unlink()
    error = refused(store, MissingError)
    assert error.where == str(store.manifest_path)


def test_a_store_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    refused(OllamaStore(tmp_path / "none"), MissingError)


def test_a_missing_blob_is_named(store: OllamaStore) -> None:
    store.model_blob.unlink()
    assert refused(store, MissingError).where == str(store.model_blob)


def test_a_blob_of_another_size_is_named(store: OllamaStore) -> None:
    store.model_blob.write_bytes(MODEL[:-1])
    error = refused(store, DigestMismatchError)
    assert error.where == str(store.model_blob)


def test_a_licence_of_other_bytes_is_named(store: OllamaStore) -> None:
    path = store.folder / "blobs" / f"sha256-{hashlib.sha256(LICENCE).hexdigest()}"
    path.write_bytes(LICENCE.replace(b"3.2", b"9.9"))
    assert refused(store, DigestMismatchError).where == str(path)


@pytest.mark.parametrize("which", ["manifest", "blob"])
@pytest.mark.parametrize("what", ["link", "fifo", "folder"])
def test_anything_but_a_file_is_refused_without_being_opened(
    store: OllamaStore, which: str, what: str
) -> None:
    path = store.manifest_path if which == "manifest" else store.model_blob
    target = path.rename(path.with_name("elsewhere"))
    if what == "link":
        path.symlink_to(target)
    elif what == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert refused(store, SpecError).where == str(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"layers":{}}',
        '{"layers":[7]}',
        '{"layers":[{"mediaType":"x","digest":"sha256:zz","size":1}]}',
        '{"layers":[{"mediaType":"x","digest":"sha256:../../../etc","size":1}]}',
        '{"layers":[],"layers":[]}',
    ],
)
def test_a_manifest_that_is_none_is_refused(store: OllamaStore, text: str) -> None:
    store.manifest_path.write_text(text)
    assert str(store.manifest_path) in refused(store, MalformedError).where


@pytest.mark.parametrize(
    "text", [" " * (MAX_MANIFEST_BYTES + 1), '{"layers":[' + "7," * 99 + "7]}"]
)
def test_a_manifest_without_bounds_is_refused(store: OllamaStore, text: str) -> None:
    store.manifest_path.write_text(text)
    refused(store, LimitExceededError)


@pytest.mark.parametrize("kinds", [(), ("model", "model")])
def test_only_one_model_layer_is_taken(
    store: OllamaStore, kinds: tuple[str, ...]
) -> None:
    store.write(*(store.blob(bytes([n]) + MODEL, kind) for n, kind in enumerate(kinds)))
    assert refused(store, SpecError).actual == str(len(kinds))


@pytest.mark.parametrize("kind", ["adapter", "projector", "tensor"])
def test_layers_that_would_be_lost_are_refused(store: OllamaStore, kind: str) -> None:
    store.write(store.blob(MODEL, "model"), store.blob(b"x", kind))
    refused(store, SpecError)


def test_the_model_layer_is_found_with_its_digest(store: OllamaStore) -> None:
    found = find(store)
    digest = hashlib.sha256(MODEL).hexdigest()
    assert found.files == (
        OnDisk(
            path=store.model_blob,
            size_bytes=len(MODEL),
            sha256=found.files[0].sha256,
        ),
    )
    assert found.files[0].sha256 == digest
    assert found.origin == f"ollama:registry.ollama.ai/library/tiny:1b@sha256:{digest}"


def test_what_is_not_carried_and_the_licence_are_noted(store: OllamaStore) -> None:
    notes = find(store).notes
    assert len(notes) == 3
    assert any("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT" in note for note in notes)
    assert all(note.isprintable() for note in notes)
