"""Finds and fetches the files of a model, whatever kind of source it has."""

from pathlib import Path

from bundler.sources import hub_download, hugging_face, local_file, ollama
from bundler.sources.hub_download import Advance
from bundler.sources.located import LocatedFile, LocatedModel, OnDisk
from bundler.sources.wanted import HubFile, LocalFile, ModelSource


def locate(source: ModelSource) -> LocatedModel:
    """Return where the files of ``source`` are, before any of them is read.

    Raises:
        RefusalError, FaultError: As the module of that kind of source.
    """
    if isinstance(source, LocalFile):
        return local_file.locate(source)
    if isinstance(source, HubFile):
        return hugging_face.locate(source)
    return ollama.locate(source)


def fetch(file: LocatedFile, *, cache: Path, progress: Advance) -> OnDisk:
    """Return ``file`` on this machine; only one of a hub is downloaded.

    Raises:
        RefusalError, FaultError: As ``hub_download.fetch``.
    """
    if isinstance(file, OnDisk):
        return file
    return hub_download.fetch(file, cache=cache.expanduser() / "hub", progress=progress)
