"""Let the bytes of old records go, where ``log.pruned`` says which; keep holds.

A record that was pruned keeps its number, its leaf hash and its index columns; only
``bytes`` becomes NULL, and only once a range in ``prune_range`` covers it, which the
bytes of a record ``log.pruned`` must name. A program of the release before works with
the result as long as nothing is pruned; while one runs, it halts over the changed
triggers: stop it first.

Functions of JSON may not be used by triggers of a schema that is not trusted, so these
look for text. A record's bytes are in the one form of RFC 8785, in which a quotation
mark within a value is never without a backslash: nothing but the fields is found.

SQLite cannot drop NOT NULL from a column, and copying the table would go around its
triggers. The schema's text is edited instead, which changes nothing in the file but
that text. Source: SQLite, "ALTER TABLE", section 7, the procedure for removing
constraints.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

PRUNABLE = ("llm.request", "llm.response", "llm.refused", "llm.aborted")

_KEPT = ("seq", "leaf", "ts", "event", "outcome", "team", "request_id")

RULES = (
    ("record_whole", "record", "INSERT", "NEW.bytes IS NULL", "a record has bytes"),
    (
        "record_no_update",
        "record",
        "UPDATE",
        " OR ".join(
            (
                *(f"NEW.{name} IS NOT OLD.{name}" for name in _KEPT),
                "NEW.bytes IS NOT NULL OR OLD.bytes IS NULL",
                f"OLD.event NOT IN {PRUNABLE}",
                "OLD.request_id IN (SELECT request_id FROM open_request)",
                (
                    "coalesce((SELECT last_seq FROM prune_range"
                    " WHERE kind = 'record' AND first_seq <= OLD.seq"
                    " ORDER BY first_seq DESC LIMIT 1), -1) < OLD.seq"
                ),
            )
        ),
        "record is append-only; of what log.pruned names the bytes may go",
    ),
    ("prune_range_no_update", "prune_range", "UPDATE", "1", "prune_range is kept"),
    ("prune_range_no_delete", "prune_range", "DELETE", "1", "prune_range is kept"),
    (
        "prune_range_recorded",
        "prune_range",
        "INSERT",
        (
            "NEW.kind NOT IN ('record', 'body')"
            " OR NEW.first_seq < 0 OR NEW.last_seq < NEW.first_seq"
            " OR NEW.last_seq >= NEW.record_seq"
            " OR EXISTS (SELECT 1 FROM prune_range WHERE kind = NEW.kind"
            " AND first_seq <= NEW.last_seq AND last_seq >= NEW.first_seq)"
            " OR NOT EXISTS (SELECT 1 FROM record"
            " WHERE seq = NEW.record_seq AND event = 'log.pruned'"
            " AND instr(CAST(bytes AS TEXT), '\"kind\":\"' || NEW.kind || '\"') > 0"
            " AND instr(CAST(bytes AS TEXT),"
            " '\"' || NEW.first_seq || '-' || NEW.last_seq || '\"') > 0)"
        ),
        "a range must be one that log.pruned names, and overlap no other",
    ),
    ("hold_no_delete", "hold", "DELETE", "1", "a hold is kept"),
    (
        "hold_order",
        "hold",
        "INSERT",
        (
            "NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM hold)"
            " OR NEW.lifted_seq IS NOT NULL"
            " OR NOT EXISTS (SELECT 1 FROM record"
            " WHERE seq = NEW.placed_seq AND event = 'hold.placed'"
            " AND instr(CAST(bytes AS TEXT), '\"hold\":' || NEW.number || ',') > 0)"
        ),
        "a hold must follow the last one and have its record",
    ),
    (
        "hold_lift_only",
        "hold",
        "UPDATE",
        " OR ".join(
            (
                *(
                    f"NEW.{name} IS NOT OLD.{name}"
                    for name in (
                        *("number", "first_seq", "last_seq", "event", "team"),
                        *("model", "request_id", "placed_seq", "placed_ts"),
                    )
                ),
                "OLD.lifted_seq IS NOT NULL",
                (
                    "NOT EXISTS (SELECT 1 FROM record WHERE seq = NEW.lifted_seq"
                    " AND seq > OLD.placed_seq AND event = 'hold.lifted'"
                    " AND instr(CAST(bytes AS TEXT),"
                    " '\"hold\":' || NEW.number || ',') > 0)"
                ),
            )
        ),
        "a hold can only be lifted, once, by the record of that",
    ),
)


def upgrade() -> None:
    op.create_table(
        "prune_range",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("record_seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "first_seq"),
    )
    op.create_table(
        "hold",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=True),
        sa.Column("event", sa.String(), nullable=True),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("placed_seq", sa.Integer(), nullable=False),
        sa.Column("placed_ts", sa.String(), nullable=False),
        sa.Column("lifted_seq", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    _let_bytes_be_null()
    op.execute("DROP TRIGGER record_no_update")
    for name, table, verb, refused, message in RULES:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} WHEN {refused}"
            f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )


def _let_bytes_be_null() -> None:
    """Take NOT NULL from ``record.bytes`` in the schema's text."""
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    connection.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, 'bytes BLOB NOT NULL',"
        " 'bytes BLOB') WHERE type = 'table' AND name = 'record'"
    )
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = OFF")
