"""Every table of ``sallyport.db``; what the migrations are compared with.

The ledger's tables (``log_meta``, ``record``, ``subtree``, ``checkpoint``,
``epoch_key``, ``cosignature``, ``halt``, ``prune_range``, ``hold``) are append-only:
their triggers are created by the migrations and tested there. All times are RFC 3339
UTC text, all digests lower-case hexadecimal text unless the column is a BLOB.
"""

from sqlalchemy import ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Root of the rows; its metadata is what Alembic checks."""


class LogMetaRow(Base):
    """The identity of this host's ledger; exactly one row, never changed."""

    __tablename__ = "log_meta"

    log_id: Mapped[str] = mapped_column(primary_key=True)
    origin: Mapped[str]
    vkey: Mapped[str]
    created_ts: Mapped[str]


class RecordRow(Base):
    """One ledger record: ``bytes`` is evidence, the other columns an index of it.

    ``bytes`` is NULL of a record that was pruned, which a row of ``prune_range`` says.
    """

    __tablename__ = "record"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)
    bytes_: Mapped[bytes | None] = mapped_column("bytes", LargeBinary)
    ts: Mapped[str]
    event: Mapped[str]
    outcome: Mapped[str]
    team: Mapped[str | None]
    request_id: Mapped[str | None]

    __table_args__ = (
        Index("ix_record_request_id", "request_id"),
        Index("ix_record_event_ts", "event", "ts"),
        Index("ix_record_team_ts", "team", "ts"),
    )


class SubtreeRow(Base):
    """The root over ``leaves`` records from ``place`` on; an index of the tree."""

    __tablename__ = "subtree"

    leaves: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = ({"sqlite_with_rowid": False},)


class CheckpointRow(Base):
    """A signed tree head with the frontier that lets the tree grow from it."""

    __tablename__ = "checkpoint"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    frontier: Mapped[bytes] = mapped_column(LargeBinary)
    note: Mapped[str]
    ts: Mapped[str]


class EpochKeyRow(Base):
    """One key that signed heads, and for which of them; the open one has no end.

    Heads of more than ``from_size`` records, up to ``to_size``, are signed by it.
    Record ``rotate_seq`` names it. Only ``to_size`` and ``destroyed_ts`` are filled
    in later, each once.
    """

    __tablename__ = "epoch_key"

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    vkey: Mapped[str]
    from_size: Mapped[int]
    to_size: Mapped[int | None]
    rotate_seq: Mapped[int]
    destroyed_ts: Mapped[str | None]


class CosignatureRow(Base):
    """What a witness, known by its key, signed of the head over ``size`` records."""

    __tablename__ = "cosignature"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    witness: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[str]
    imported_ts: Mapped[str]


class HaltRow(Base):
    """A time in which the ledger was halted, from one record to another.

    ``halted_seq`` is its ``log.halted``; ``released_seq`` is its ``log.released`` and
    NULL as long as it lasts. Nothing but that is ever filled in.
    """

    __tablename__ = "halt"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    cause: Mapped[str]
    halted_seq: Mapped[int]
    halted_ts: Mapped[str]
    released_seq: Mapped[int | None]


class PruneRangeRow(Base):
    """Records, or the bodies of records, that were let go; never changed.

    ``first_seq`` to ``last_seq`` are what record ``record_seq``, a ``log.pruned``,
    names among its ranges.
    """

    __tablename__ = "prune_range"

    kind: Mapped[str] = mapped_column(primary_key=True)
    first_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_seq: Mapped[int]
    record_seq: Mapped[int]


class HoldRow(Base):
    """What must not be let go, from one record to another; NULL matters not.

    ``placed_seq`` is its ``hold.placed``; ``lifted_seq`` is its ``hold.lifted`` and
    NULL as long as it holds. Nothing but that is ever filled in.
    """

    __tablename__ = "hold"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first_seq: Mapped[int | None]
    last_seq: Mapped[int | None]
    event: Mapped[str | None]
    team: Mapped[str | None]
    model: Mapped[str | None]
    request_id: Mapped[str | None]
    placed_seq: Mapped[int]
    placed_ts: Mapped[str]
    lifted_seq: Mapped[int | None]


class OpenRequestRow(Base):
    """A request whose ``llm.request`` is durable and whose outcome is not.

    The row is inserted and deleted in the same transactions as the two records,
    so that after a crash this table lists what needs ``llm.aborted``.
    """

    __tablename__ = "open_request"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int]
    team: Mapped[str]


class TrustFileRow(Base):
    """One TUF metadata file of a channel's trust state, byte for byte."""

    __tablename__ = "trust_file"

    channel: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    bytes_: Mapped[bytes] = mapped_column("bytes", LargeBinary)


class TrustFloorRow(Base):
    """The versions and the time below which a channel never goes again."""

    __tablename__ = "trust_floor"

    channel: Mapped[str] = mapped_column(primary_key=True)
    root_version: Mapped[int]
    bundle_version: Mapped[int]
    time_floor: Mapped[str]


class GenerationRow(Base):
    """One imported bundle; the active one of each channel serves.

    ``collected_ts`` says since when some of its files may be gone.
    """

    __tablename__ = "generation"

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str]
    version: Mapped[int]
    manifest_sha256: Mapped[str]
    manifest: Mapped[bytes] = mapped_column(LargeBinary)
    activated_ts: Mapped[str]
    active: Mapped[bool]
    collected_ts: Mapped[str | None]

    __table_args__ = (
        Index("ux_generation_channel_version", "channel", "version", unique=True),
        Index(
            "ux_generation_active",
            "channel",
            unique=True,
            sqlite_where=text("active = 1"),
        ),
    )


class ActivationRow(Base):
    """One activation of a generation; their ids are the order they happened in."""

    __tablename__ = "activation"

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    reason: Mapped[str]
    activated_ts: Mapped[str]

    __table_args__ = (Index("ix_activation_generation", "generation"),)


class RemovedModelRow(Base):
    """A model, known by its digest, that this host was told not to serve."""

    __tablename__ = "removed_model"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    removed_ts: Mapped[str]


class TakenOutModelRow(Base):
    """A model, known by its digest, that crashed too often to be started again."""

    __tablename__ = "taken_out_model"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    taken_out_ts: Mapped[str]
    crashes: Mapped[int]


class ModelCaptureRow(Base):
    """The most that is captured of calls to a model, known by its name."""

    __tablename__ = "model_capture"

    name: Mapped[str] = mapped_column(primary_key=True)
    capture: Mapped[str]
    set_ts: Mapped[str]


class CalibrationRow(Base):
    """What was measured of a model on one kind of host; see ``registry``."""

    __tablename__ = "calibration"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    measured: Mapped[bytes] = mapped_column(LargeBinary)
    measured_ts: Mapped[str]


class TeamRow(Base):
    """A tenant: whoever a key, a clearance or a limit belongs to."""

    __tablename__ = "team"

    name: Mapped[str] = mapped_column(primary_key=True)
    clearance: Mapped[str]
    default_class: Mapped[str]
    created_ts: Mapped[str]
    capture: Mapped[str] = mapped_column(server_default="metadata")


class TeamTermsRow(Base):
    """What a team has instead of the host's defaults; NULL is the default."""

    __tablename__ = "team_terms"

    team: Mapped[str] = mapped_column(ForeignKey("team.name"), primary_key=True)
    running: Mapped[int | None]
    queued: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    tokens_per_day: Mapped[int | None]
    weight: Mapped[int | None]
    priority: Mapped[str | None]


class ApiKeyRow(Base):
    """An API key, known only by its keyed digest."""

    __tablename__ = "api_key"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    mac: Mapped[bytes] = mapped_column(LargeBinary)
    team: Mapped[str] = mapped_column(ForeignKey("team.name"))
    name: Mapped[str]
    created_ts: Mapped[str]
    expires_ts: Mapped[str]
    revoked_ts: Mapped[str | None]


class SiteCertificateRow(Base):
    """A site certificate as it was signed; the newest installed one counts."""

    __tablename__ = "site_certificate"

    id: Mapped[int] = mapped_column(primary_key=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)
    installed_ts: Mapped[str]
