"""First tables, and the triggers that keep the ledger append-only.

There is no way down: what a ledger holds is evidence. The triggers stop
mistakes and honest code; only a checkpoint held outside the host proves that
nobody went around them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("log_meta", "record", "checkpoint")

INSERT_RULES = (
    # Also what refuses INSERT OR REPLACE of an existing record.
    (
        "record_gap",
        "record",
        "NEW.seq IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM record)",
        "a record must follow the last one",
    ),
    (
        "record_leaf",
        "record",
        "length(NEW.leaf) IS NOT 32",
        "a leaf hash has 32 bytes",
    ),
    (
        "checkpoint_order",
        "checkpoint",
        (
            "NEW.size IS NOT (SELECT coalesce(max(seq), -1) + 1 FROM record)"
            " OR NEW.size <= (SELECT coalesce(max(size), 0) FROM checkpoint)"
        ),
        "a checkpoint must cover every record and grow",
    ),
    (
        "log_meta_single",
        "log_meta",
        "EXISTS (SELECT 1 FROM log_meta)",
        "a host has one ledger",
    ),
)


def upgrade() -> None:
    _create_ledger()
    _create_triggers()
    _create_trust()
    _create_generations()
    _create_identity()


def _create_ledger() -> None:
    op.create_table(
        "log_meta",
        sa.Column("log_id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("vkey", sa.String(), nullable=False),
        sa.Column("created_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("log_id"),
    )
    op.create_table(
        "record",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.Column("ts", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_record_request_id", "record", ["request_id"])
    op.create_index("ix_record_event_ts", "record", ["event", "ts"])
    op.create_index("ix_record_team_ts", "record", ["team", "ts"])
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "open_request",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )


def _create_triggers() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    for name, table, refused_when, why in INSERT_RULES:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table} "
            f"WHEN {refused_when} BEGIN SELECT RAISE(ABORT, '{why}'); END"
        )


def _create_trust() -> None:
    op.create_table(
        "trust_file",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "name"),
    )
    op.create_table(
        "trust_floor",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("root_version", sa.Integer(), nullable=False),
        sa.Column("bundle_version", sa.Integer(), nullable=False),
        sa.Column("time_floor", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("channel"),
    )


def _create_generations() -> None:
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("manifest_sha256", sa.String(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("activated_ts", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ux_generation_channel_version",
        "generation",
        ["channel", "version"],
        unique=True,
    )
    op.create_index(
        "ux_generation_active",
        "generation",
        ["channel"],
        unique=True,
        sqlite_where=sa.text("active = 1"),
    )


def _create_identity() -> None:
    op.create_table(
        "team",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("clearance", sa.String(), nullable=False),
        sa.Column("default_class", sa.String(), nullable=False),
        sa.Column("created_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_ts", sa.String(), nullable=False),
        sa.Column("expires_ts", sa.String(), nullable=False),
        sa.Column("revoked_ts", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["team"], ["team.name"]),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_table(
        "site_certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("installed_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
