"""Finds a model in the store that Ollama keeps on disk.

``manifests/HOST/NAMESPACE/NAME/TAG`` is a JSON manifest as container registries
have it; the files it lists lie in ``blobs/sha256-DIGEST``. Nothing is believed
of a blob: what is taken is hashed while it is copied. A link in the place of a
file is refused, because a store holds none.

Source: ollama ``manifest/manifest.go`` and ``manifest/paths.go``.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bundleformat.digest import Sha256, parse_sha256, sha256_of
from bundleformat.errors import (
    DigestMismatchError,
    LimitExceededError,
    MissingError,
    RefusalError,
)
from bundleformat.fields import Fields
from bundleformat.strictjson import decode
from bundler.errors import SpecError
from bundler.sources.located import LocatedModel, OnDisk
from bundler.sources.wanted import OllamaModel

MAX_MANIFEST_BYTES: Final = 2**20
"""Largest manifest read; real ones have about a thousand. Unit: bytes."""

MAX_LAYERS: Final = 64
"""Most layers of a manifest; real ones have up to eight."""

MAX_LICENCE_BYTES: Final = 2**20
"""Longest licence text looked at. Unit: bytes."""

_TYPE = "application/vnd.ollama.image."

_REFUSED: Final = {
    "adapter": "an adapter over the model, which would not be applied",
    "projector": "a projector for images, which this version does not serve",
    "tensor": "tensors one by one instead of a GGUF file",
}
"""Layers without which the model would not be what its users know."""

_DROPPED: Final = {
    "template": "its chat template; the one inside the GGUF file is used",
    "system": "its system prompt",
    "params": "its parameters, such as stop words and temperature",
    "messages": "its example messages",
}
"""Layers that a bundle does not carry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    kind: str
    sha256: Sha256
    size_bytes: int


def locate(source: OllamaModel) -> LocatedModel:
    """Return the GGUF file of ``source``.

    Raises:
        MissingError: The store, the model, or a blob is not there.
        SpecError: It is not one GGUF file, or a link lies where a file belongs.
        MalformedError, LimitExceededError: Its manifest is not one.
        DigestMismatchError: A blob has another size than the manifest says, or
            the licence text other bytes.
    """
    manifest = (
        source.store
        / "manifests"
        / source.host
        / source.namespace
        / source.name
        / source.tag
    )
    layers = _read_layers(manifest, model=source.spelled)
    _check_servable(layers, where=source.spelled)
    models = [layer for layer in layers if layer.kind == "model"]
    if len(models) != 1:
        raise SpecError(
            "not a model in one file",
            where=source.spelled,
            expected="one model layer",
            actual=str(len(models)),
        )
    file = _blob(source.store, models[0])
    return LocatedModel(
        files=(file,),
        origin=f"ollama:{source.spelled}@sha256:{file.sha256}",
        notes=_notes(source, layers),
    )


def _read_layers(path: Path, *, model: str) -> tuple[_Layer, ...]:
    data = _read(
        path,
        max_bytes=MAX_MANIFEST_BYTES,
        hint=f"`ollama list` shows what is there; `ollama pull {model}` gets it.",
    )
    value = decode(data, max_bytes=MAX_MANIFEST_BYTES, max_depth=8, where=str(path))
    try:
        return tuple(
            _layer(item, where=where)
            for item, where in Fields(value, where="").items(
                "layers", max_items=MAX_LAYERS
            )
        )
    except RefusalError as error:
        raise error.inside(str(path)) from error


def _layer(item: Any, *, where: str) -> _Layer:  # noqa: ANN401 - any JSON value
    fields = Fields(item, where=where)
    digest = fields.text("digest", max_characters=80)
    return _Layer(
        kind=fields.text("mediaType", max_characters=200).removeprefix(_TYPE),
        sha256=parse_sha256(
            digest.removeprefix("sha256:"), where=fields.place("digest")
        ),
        size_bytes=fields.integer("size", minimum=0, maximum=2**53 - 1),
    )


def _check_servable(layers: tuple[_Layer, ...], *, where: str) -> None:
    for layer in layers:
        if layer.kind in _REFUSED:
            raise SpecError(
                f"this model has {_REFUSED[layer.kind]}",
                where=where,
                hint="Convert the model to one GGUF file and name that by its path.",
            )


def _blob(store: Path, layer: _Layer) -> OnDisk:
    path = store / "blobs" / f"sha256-{layer.sha256}"
    size_bytes = _regular(path, hint="Pull the model again with `ollama pull`.").st_size
    if size_bytes != layer.size_bytes:
        raise DigestMismatchError(
            "not of the size that the manifest says",
            where=str(path),
            expected=f"{layer.size_bytes} bytes",
            actual=f"{size_bytes} bytes",
            hint="The store is damaged; remove the blob and pull the model again.",
        )
    return OnDisk(path=path, size_bytes=size_bytes, sha256=layer.sha256)


def _notes(source: OllamaModel, layers: tuple[_Layer, ...]) -> tuple[str, ...]:
    kinds = {layer.kind for layer in layers}
    dropped = [text for kind, text in _DROPPED.items() if kind in kinds]
    notes = [f"{source.spelled}: not carried are {text}" for text in dropped]
    for layer in layers:
        if layer.kind == "license":
            file = _blob(source.store, layer)
            data = _read(file.path, max_bytes=MAX_LICENCE_BYTES, hint="")
            if sha256_of(data) != layer.sha256:
                raise DigestMismatchError(
                    "the licence text is not what the manifest says",
                    where=str(file.path),
                    expected=f"sha256 {layer.sha256}",
                )
            notes.append(f"{source.spelled}: its licence begins: {_first_line(data)}")
    return tuple(notes)


def _first_line(data: bytes) -> str:
    text = data[:4_096].decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[0][:100] if lines else ""
    return "".join(char if char.isprintable() else "?" for char in line)


def _read(path: Path, *, max_bytes: int, hint: str) -> bytes:
    size_bytes = _regular(path, hint=hint).st_size
    if size_bytes > max_bytes:
        raise LimitExceededError(
            "too long",
            where=str(path),
            expected=f"at most {max_bytes} bytes",
            actual=f"{size_bytes} bytes",
        )
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def _regular(path: Path, *, hint: str) -> os.stat_result:
    """Return what lies at ``path``, which is a regular file and no link to one."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "not in the Ollama store", where=str(path), hint=hint
        ) from error
    except OSError as error:
        raise SpecError(
            "cannot be read", where=str(path), actual=error.strerror or str(error)
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise SpecError(
            "not a regular file in the Ollama store",
            where=str(path),
            hint="A store holds files and folders only; somebody changed it.",
        )
    return found
