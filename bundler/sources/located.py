"""Where the files of a model are, before a byte of them was read or fetched."""

from dataclasses import dataclass
from pathlib import Path

from bundleformat.digest import Sha256
from bundler.sources.wanted import HubFile


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDisk:
    """A file of this machine.

    Attributes:
        path: Where it lies.
        size_bytes: Its size when it was looked at.
        sha256: What its bytes MUST turn out to be, if somebody states that.
    """

    path: Path
    size_bytes: int
    sha256: Sha256 | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OnHub:
    """A file of a hub, which states its size and digest."""

    file: HubFile
    size_bytes: int
    sha256: Sha256


LocatedFile = OnDisk | OnHub
"""One file of a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedModel:
    """Every file of one model.

    Attributes:
        files: One, or all parts of a split model in their order.
        origin: What the manifest says unless the spec names an origin; None
            where only a person can know.
        notes: What the publisher should know, one sentence each.
    """

    files: tuple[LocatedFile, ...]
    origin: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size_bytes for file in self.files)
