"""A commissioned host in a scratch folder, ready to import bundles."""

import datetime as dt
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from appliance import import_flow, import_looks
from appliance.db.session import (
    create_database,
    database_faults,
    open_database,
    reader,
)
from appliance.import_steps.host import (
    Asked,
    Copies,
    Examine,
    Imported,
    ImportHost,
    ImportPlan,
    Installed,
    Observer,
    Verified,
)
from appliance.intake import trust_state
from appliance.intake.examine import examine_model
from appliance.intake.host_facts import HostFacts
from appliance.ledger.log.append import append
from appliance.ledger.log.commission import commission, open_ledger
from appliance.ledger.log.head import LogIdentity
from appliance.ledger.log.keys import LedgerKeys
from appliance.ledger.records.events import Draft
from appliance.registry import catalogue
from appliance.registry.store import Store
from bundleformat.digest import sha256_of
from bundleformat.errors import InternalFaultError, RefusalError, StorageFaultError
from bundleformat.gguf import ModelFacts
from bundleformat.gguf_split import Part, read_model_facts
from bundleformat.layout import chunk_path
from bundleformat.manifest import Artifact, Manifest
from bundleformat.verify import VerifiedBundle
from tests.support.publisher import NOW, Published

CHUNK_BYTES = 48 * 1024
"""Small enough that a small model has several chunks."""

TABLES = ("trust_file", "trust_floor", "generation", "record", "checkpoint")
"""Every table an import may write."""


FACTS = HostFacts(
    cpu_level=3,
    platform="linux_x86_64",
    glibc=(2, 36),
    python=(3, 11),
    program=(0, 1, 0),
)
"""What the test host is."""


class Clock:
    """A clock that shows what it was set to."""

    def __init__(self, moment: dt.datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> dt.datetime:
        return self.moment

    def monotonic_ns(self) -> int:
        return 0


def examine_here(*paths: Path, where: str) -> ModelFacts:
    """Examine a model in this process: quick, for tests of other things."""
    try:
        with ExitStack() as stack:
            parts = [
                Part(
                    file=stack.enter_context(path.open("rb")),
                    size_bytes=path.stat().st_size,
                    where=where,
                )
                for path in paths
            ]
            return read_model_facts(parts)
    except OSError as error:
        raise StorageFaultError("cannot be read", where=str(paths[0])) from error


def examine_confined(*paths: Path, where: str) -> ModelFacts:
    """Examine a model as a host does, in a confined child process."""
    return examine_model(*paths, where=where)


def load_nothing(paths: tuple[Path, ...]) -> None:
    """Stand for an engine that can load everything."""
    assert paths
    assert all(path.is_file() for path in paths)


def import_bundle(
    parts: ImportHost,
    *media: Path,
    channel: str | None = None,
    observer: Observer | None = None,
    accept_expired: str | None = None,
) -> Imported:
    """Import from ``media``."""
    asked = Asked(media=media, channel=channel, accept_expired=accept_expired)
    return import_flow.import_bundle(parts, asked, observer=observer)


def preview_import(
    parts: ImportHost,
    *media: Path,
    channel: str | None = None,
    accept_expired: str | None = None,
) -> ImportPlan:
    """Preview an import from ``media``."""
    asked = Asked(media=media, channel=channel, accept_expired=accept_expired)
    return import_looks.preview_import(parts, asked)


def verify_bundle(
    parts: ImportHost, *media: Path, observer: Observer | None = None
) -> Verified:
    """Verify everything on ``media``."""
    return import_looks.verify_bundle(parts, media, observer=observer)


def inspect_bundle(parts: ImportHost, *media: Path) -> VerifiedBundle:
    """Verify the metadata on ``media``."""
    return import_looks.inspect_bundle(parts, media)


def accept_policies(policies: tuple[tuple[str, bytes], ...]) -> None:
    """Accept any policies."""
    assert all(name and data for name, data in policies)


class NoEnvironments:
    """Stands where there is nothing to install."""

    def lacking(
        self, manifest: Manifest, *, unsuitable: frozenset[str]
    ) -> tuple[Artifact, ...]:
        """Return nothing."""
        del manifest, unsuitable
        return ()

    def install(
        self, manifest: Manifest, files: Copies, *, unsuitable: frozenset[str]
    ) -> tuple[Installed, ...]:
        """Return nothing.

        Raises:
            InternalFaultError: There is something to install after all.
        """
        names = {each.name for each in manifest.artifacts if each.environment}
        if names - unsuitable:
            raise InternalFaultError(
                "this host has no way to install environments",
                actual=f"{len(files)} files",
            )
        return ()

    def discard(self, manifest: Manifest) -> None:
        """Remove nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A host's home folder, open."""

    home: Path
    database: Engine
    log: LogIdentity
    keys: LedgerKeys
    clock: Clock

    @property
    def staging(self) -> Path:
        return self.home / "staging"

    @property
    def store(self) -> Store:
        return Store(self.home / "store")

    def append(self, connection: Connection, drafts: Sequence[Draft]) -> object:
        return append(
            connection,
            drafts,
            log=self.log,
            keys=self.keys,
            now=self.clock.now(),
        )

    def parts(self, *, examine: Examine = examine_here) -> ImportHost:
        """Return what the import flow works with on this host."""
        return ImportHost(
            database=self.database,
            staging=self.staging,
            store=self.store,
            clock=self.clock,
            append_records=self.append,
            check_policies=accept_policies,
            trial_load=load_nothing,
            operator_uid=1000,
            environments=NoEnvironments(),
            read_facts=lambda: FACTS,
            examine=examine,
        )

    def trust(self, bundle: Published) -> None:
        """Trust the first root of ``bundle``'s publisher for its channel."""
        with self.database.begin() as connection:
            trust_state.save(
                connection,
                channel=bundle.manifest.channel,
                state=bundle.state(),
                floor=None,
            )

    def active(self) -> dict[str, int]:
        """Return the active version of each channel, every artifact of it checked."""
        with self.database.begin() as connection:
            generations = catalogue.active_generations(connection)
        for generation in generations:
            for artifact in generation.manifest.artifacts:
                path = self.store.path_of(artifact.sha256)
                assert sha256_of(path.read_bytes()) == artifact.sha256
                assert path.stat().st_mode & 0o777 == 0o444
        return {each.channel: each.version for each in generations}

    def events(self, name: str) -> list[bytes]:
        """Return the bytes of every record of that event."""
        query = text("SELECT bytes FROM record WHERE event = :name ORDER BY seq")
        with self.database.begin() as connection:
            return list(connection.execute(query, {"name": name}).scalars())

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Return every row an import could have written."""
        with self.database.begin() as connection:
            return {
                table: [
                    tuple(row)
                    for row in connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - fixed names
                ]
                for table in TABLES
            }

    def files(self) -> dict[str, bytes]:
        """Return every file below the home but the database."""
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and not path.name.startswith("sallyport.db")
        }

    def close(self) -> None:
        self.database.dispose()


def new_host(home: Path, *trusted: Published) -> Host:
    """Commission a host in ``home`` that trusts the publishers of ``trusted``."""
    for folder in ("staging", "store", "keys"):
        (home / folder).mkdir(parents=True)
    create_database(home / "sallyport.db").dispose()
    database = open_database(home / "sallyport.db")
    with database.begin() as connection:
        commission(
            connection,
            key_path=home / "keys" / "ledger.key",
            site="test.example",
            tool="sallyport/test",
            now=NOW,
        )
    database.dispose()
    host = open_host(home)
    for bundle in trusted:
        host.trust(bundle)
    return host


def open_host(home: Path) -> Host:
    """Open the host in ``home`` as another process would."""
    database = open_database(home / "sallyport.db")
    with database_faults(database), reader(database).connect() as connection:
        log, keys = open_ledger(connection, key_path=home / "keys" / "ledger.key")
    return Host(home=home, database=database, log=log, keys=keys, clock=Clock())


def refuse(
    host: Host, medium: Path, kind: type[RefusalError], parts: ImportHost | None = None
) -> RefusalError:
    """Import, expect a refusal, and check that it left nothing but a record."""
    before, records = host.active(), len(host.events("bundle.refused"))
    stored = {path.name for path in host.home.glob("store/sha256/*")}
    trust = {name: host.rows()[name] for name in ("trust_file", "trust_floor")}
    with pytest.raises(kind) as caught:
        import_bundle(parts or host.parts(), medium)
    assert type(caught.value) is kind
    assert list(host.staging.iterdir()) == []
    assert {path.name for path in host.home.glob("store/sha256/*")} == stored
    assert host.active() == before
    assert {name: host.rows()[name] for name in trust} == trust
    refused = host.events("bundle.refused")
    assert len(refused) == records + 1
    assert json.loads(refused[-1])["code"] == caught.value.code
    return caught.value


def middle_chunk(bundle: Published) -> Path:
    """Return the path of the model's middle chunk on the medium."""
    chunks = bundle.manifest.artifacts[0].chunks
    assert len(chunks) >= 3
    return bundle.folder / chunk_path(chunks[1].sha256)
