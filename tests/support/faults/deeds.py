"""What is done on a disk that fails: whole operations on a host's home folder.

Each is given the home, media, and what to call when only closing is left to do. Done
again, it does what is left of it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance import generation_flow, repair_flow, store_flow
from appliance.environments.install import EnvironmentInstaller
from appliance.errors import AuditUnavailableError
from appliance.import_steps.host import ImportHost
from appliance.registry.catalogue import Reason
from bundleformat.errors import VolumesMissingError
from tests.support.importing import import_bundle, open_host
from tests.support.ledgers import guard_of, ledger_at, request, response, writer_of

Done = Callable[[], object]
Deed = Callable[[Path, Sequence[Path], Done], object]


PATIENCE_S = 60
"""How long a record may take. Unit: seconds."""


def nothing() -> None:
    """Take no notice."""


@contextmanager
def opened(home: Path, done: Done) -> Iterator[ImportHost]:
    """Give the host in ``home``, and close it."""
    host = open_host(home)
    try:
        installer = EnvironmentInstaller(home / "environments")
        yield replace(host.parts(), environments=installer)
        done()
    finally:
        host.close()


def import_all(home: Path, media: Sequence[Path], done: Done = nothing) -> None:
    """Import from all media at once."""
    with opened(home, done) as parts:
        import_bundle(parts, *media)


def import_one_by_one(home: Path, media: Sequence[Path], done: Done = nothing) -> None:
    """Import from each medium in a run of its own, as with one drive."""
    with opened(home, done) as parts:
        for medium in media[:-1]:
            try:
                import_bundle(parts, medium)
            except VolumesMissingError:
                continue
        import_bundle(parts, media[-1])


def repair(home: Path, media: Sequence[Path], done: Done = nothing) -> None:
    """Repair the store from all media."""
    with opened(home, done) as parts:
        wanted = repair_flow.Wanted(media=tuple(media))
        repair_flow.repair(parts, wanted, environments=home / "environments")


def roll_back(home: Path, _media: Sequence[Path], done: Done = nothing) -> None:
    """Make the first generation the active one again, if it is not."""
    with opened(home, done) as parts:
        generation_flow.activate(
            parts, 1, reason=Reason.ROLLBACK, environments=home / "environments"
        )


def collect(home: Path, _media: Sequence[Path], done: Done = nothing) -> None:
    """Remove from the store what the active generation does not need."""
    with opened(home, done) as parts:
        store_flow.collect(parts, environments=home / "environments", keep=0)


def write_records(home: Path, _media: Sequence[Path], done: Done = nothing) -> None:
    """Write records as a server does; what was said of each is beside the home."""
    said = home.with_name("said")
    said.touch()

    def say(value: dict[str, int | str]) -> None:
        with said.open("a") as file:
            file.write(f"{json.dumps(value)}\n")

    with ledger_at(home) as ledger:
        guard = guard_of(ledger.engine, log=ledger.log, keys=ledger.keys)
        if guard.begin() is not None:
            return
        writer = writer_of(ledger, guard=guard)
        try:
            for name in ("a", "b", "c"):
                opened = writer.submit(request(name)).result(PATIENCE_S)
                say({"seq": opened.seq})
                ended = response(name, parent=opened.seq)
                say({"seq": writer.submit(ended).result(PATIENCE_S).seq})
        except AuditUnavailableError as error:
            say({"refused": error.problem})
        done()
        writer.close()


DEEDS: Final[dict[str, Deed]] = {
    deed.__name__: deed
    for deed in (
        *(import_all, import_one_by_one, repair, roll_back, collect),
        write_records,
    )
}
