"""One hostile input, and what must become of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from tests.vectors.bundles.estate import Files, bundle
from tests.vectors.bundles.forms import write_folder

MALFORMED: Final = "malformed"
LIMIT: Final = "limit-exceeded"
SIGNATURE: Final = "signature-invalid"
DIGEST: Final = "digest-mismatch"
ROLLBACK: Final = "rollback"
EQUIVOCATION: Final = "equivocation"
EXPIRED: Final = "expired"
MISSING: Final = "missing"
CONFLICT: Final = "conflict"
UNSUITABLE: Final = "host-unsuitable"
UNLOADABLE: Final = "engine-unavailable"
PROBE_DIED: Final = "probe-died"

Media = tuple[Path, ...]
"""Where the media of one import are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """A change of the medium while it is being read.

    Attributes:
        act: Changes it; it is given the folder or file.
        at: The step at whose begin that happens, if it is one.
        before_open: Otherwise: the name of the file before whose opening it does.
        times: At which opening of that file.
    """

    act: Callable[[Path], object]
    at: Step | None = None
    before_open: str = ""
    times: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One hostile input, and what must become of it.

    Attributes:
        name: What is wrong with it.
        code: The code of the refusal.
        step: Where the import was.
        where: How the place that the refusal names ends.
        make: Writes it into an empty folder, and says where its media are.
        files: The files of a medium that can lie in any form, if that is what it is;
            committed as a vector.
        data: The bytes of a medium that is one file, if it is committed as it is.
        swap: What changes on the medium meanwhile.
        fault: What looked at it died of it: a fault of the host, on record as such.
        slow: It takes seconds.
    """

    name: str
    code: str
    step: Step
    where: str
    make: Callable[[Path], Media]
    files: Callable[[], Files] | None = None
    data: Callable[[], bytes] | None = None
    swap: Swap | None = None
    fault: bool = False
    slow: bool = False

    @property
    def status(self) -> int:
        """The exit status of the command."""
        return 4 if self.fault else 3


def of_files(
    name: str,
    code: str,
    where: str,
    files: Callable[[], Files],
    *,
    step: Step = Step.VERIFY,
) -> Case:
    """Return the case of files that can lie on any medium."""
    return Case(
        name=name,
        code=code,
        step=step,
        where=where,
        make=lambda folder: (write_folder(files(), folder / "medium"),),
        files=files,
    )


def of_bytes(name: str, code: str, where: str, data: Callable[[], bytes]) -> Case:
    """Return the case of one file that is no bundle, or a malformed one."""

    def make(folder: Path) -> Media:
        path = folder / f"{name}.mbundle"
        path.write_bytes(data())
        return (path,)

    return Case(name=name, code=code, step=Step.LOCK, where=where, make=make, data=data)


def of_made(
    name: str,
    code: str,
    where: str,
    files: Callable[[], Files],
    *,
    step: Step = Step.VERIFY,
    slow: bool = False,
) -> Case:
    """Return the case of files that are too large to be committed, or never alike."""
    return Case(
        name=name,
        code=code,
        step=step,
        where=where,
        make=lambda folder: (write_folder(files(), folder / "medium"),),
        slow=slow,
    )


def of_folder(
    name: str,
    code: str,
    where: str,
    spoil: Callable[[Path], object],
    *,
    step: Step = Step.PREFLIGHT,
) -> Case:
    """Return the case of the good bundle in a folder, spoilt there."""

    def make(folder: Path) -> Media:
        medium = write_folder(bundle(), folder / "medium")
        spoil(medium)
        return (medium,)

    return Case(name=name, code=code, step=step, where=where, make=make)


def of_media(
    name: str,
    code: str,
    where: str,
    make: Callable[[Path], Sequence[Path]],
    *,
    step: Step = Step.LOCK,
    swap: Swap | None = None,
) -> Case:
    """Return the case of media made one by one."""
    return Case(
        name=name,
        code=code,
        step=step,
        where=where,
        make=lambda folder: tuple(make(folder)),
        swap=swap,
    )
