"""How a spec names where a model comes from; values and their parsing only.

Exactly one of::

    path = "models/llama-3b.gguf"
    hugging_face = { repo = "org/llama-3b-GGUF", revision = "<40 hex digits>",
                     file = "llama-3b-Q4_K_M.gguf" }
    ollama = { model = "llama3.2:3b" }

A split model is named by its first file, ``NAME-00001-of-0000N.gguf``.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bundleformat.fields import Fields
from bundler.errors import SpecError

OLLAMA_STORE: Final = Path("~/.ollama/models")
"""Where Ollama keeps models unless told otherwise."""

MAX_CHARACTERS: Final = 4_096
"""Longest path in a spec."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE_PART = re.compile(r"[A-Za-z0-9_][\w.+ -]{0,250}", re.ASCII)
_OLLAMA_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)
_OLLAMA_HOST = re.compile(r"[A-Za-z0-9][\w.:-]{0,250}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A file of this machine: a whole model, or the first part of a split one."""

    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """A file of a repository at one commit; ``endpoint`` None is the usual one."""

    repo: str
    revision: str
    file: str
    endpoint: str | None = None

    @property
    def origin(self) -> str:
        """What the manifest says of it."""
        return f"hf:{self.repo}@{self.revision}/{self.file}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OllamaModel:
    """A model in an Ollama store, with every part of its name spelled out."""

    store: Path
    host: str
    namespace: str
    name: str
    tag: str

    @property
    def spelled(self) -> str:
        """The whole name."""
        return f"{self.host}/{self.namespace}/{self.name}:{self.tag}"


ModelSource = LocalFile | HubFile | OllamaModel
"""Where a model comes from."""

KEYS: Final = ("path", "hugging_face", "ollama")
"""The keys of a spec that name a source; a model has exactly one."""


def parse_source(fields: Fields, *, folder: Path) -> ModelSource:
    """Return the one source that ``fields`` name; paths are relative to ``folder``.

    Raises:
        SpecError: None or several, or one that cannot be.
        MalformedError, LimitExceededError: A field of another type or too long.
    """
    given = [key for key in KEYS if fields.has(key)]
    if len(given) != 1:
        raise SpecError(
            "not exactly one source",
            where=fields.place("path"),
            expected=f"one of {', '.join(KEYS)}",
            actual=" and ".join(given) or "none",
        )
    if given == ["path"]:
        path = fields.text("path", max_characters=MAX_CHARACTERS)
        return LocalFile(path=folder / path)
    nested = fields.nested(given[0])
    source = (
        _parse_hub(nested)
        if given == ["hugging_face"]
        else _parse_ollama(nested, folder=folder)
    )
    nested.finish()
    return source


def _parse_hub(fields: Fields) -> HubFile:
    file = fields.text("file", max_characters=MAX_CHARACTERS)
    if not all(_FILE_PART.fullmatch(part) for part in file.split("/")):
        raise SpecError(
            "not the path of a file in a repository",
            where=fields.place("file"),
            actual=ascii(file),
        )
    return HubFile(
        repo=_matching(fields, "repo", _REPO, expected="OWNER/NAME"),
        revision=_commit(fields),
        file=file,
        endpoint=_endpoint(fields) if fields.has("endpoint") else None,
    )


def _commit(fields: Fields) -> str:
    revision = fields.text("revision", max_characters=MAX_CHARACTERS)
    if not _COMMIT.fullmatch(revision):
        raise SpecError(
            "not a commit",
            where=fields.place("revision"),
            expected="40 hexadecimal digits",
            actual=ascii(revision),
            hint="A branch or tag can change under the same name. Pin the commit: the "
            "repository's page shows it under Files, History.",
        )
    return revision


def _endpoint(fields: Fields) -> str:
    endpoint = fields.text("endpoint", max_characters=MAX_CHARACTERS)
    address = urlsplit(endpoint)
    here = address.hostname in {"localhost", "127.0.0.1", "::1"}
    if (
        address.scheme not in ({"https", "http"} if here else {"https"})
        or not address.hostname
        or address.username is not None
        or address.query
        or address.fragment
    ):
        raise SpecError(
            "not the address of a hub",
            where=fields.place("endpoint"),
            expected="https://HOST, without name, password, query or fragment",
            hint="Passwords do not belong in a spec. A token is read from where "
            "`hf auth login` puts it.",
        )
    return endpoint.rstrip("/")


def _parse_ollama(fields: Fields, *, folder: Path) -> OllamaModel:
    text = fields.text("model", max_characters=MAX_CHARACTERS)
    store = (
        folder / Path(fields.text("store", max_characters=MAX_CHARACTERS)).expanduser()
        if fields.has("store")
        else OLLAMA_STORE.expanduser()
    )
    rest, _, tag = (
        text.rpartition(":") if ":" in text.split("/")[-1] else (text, "", "")
    )
    *before, name = rest.split("/")
    host, namespace = {
        0: ["registry.ollama.ai", "library"],
        1: ["registry.ollama.ai", *before],
    }.get(len(before), before[:2])
    model = OllamaModel(
        store=store, host=host, namespace=namespace, name=name, tag=tag or "latest"
    )
    parts = (model.namespace, model.name, model.tag)
    if (
        len(before) > 2
        or not _OLLAMA_HOST.fullmatch(model.host)
        or not all(_OLLAMA_PART.fullmatch(part) for part in parts)
    ):
        raise SpecError(
            "not a model's name",
            where=fields.place("model"),
            expected="as `ollama list` shows it, such as llama3.2:3b",
            actual=ascii(text),
        )
    return model


def _matching(
    fields: Fields, key: str, pattern: re.Pattern[str], *, expected: str
) -> str:
    text = fields.text(key, max_characters=MAX_CHARACTERS)
    if not pattern.fullmatch(text):
        raise SpecError(
            "not of its form",
            where=fields.place(key),
            expected=expected,
            actual=ascii(text),
        )
    return text
