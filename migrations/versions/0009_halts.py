"""Keep when the ledger halted and was released.

The triggers let a halt begin only when none is open and its record is there, and let
it be closed once, by a record of its release. A program of the release before works
with the result as long as nothing is halted: it never looks at the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

RULES = (
    ("halt_no_delete", "DELETE", "1", "a halt is kept"),
    (
        "halt_order",
        "INSERT",
        (
            "NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM halt)"
            " OR NEW.released_seq IS NOT NULL"
            " OR EXISTS (SELECT 1 FROM halt WHERE released_seq IS NULL)"
            " OR NOT EXISTS (SELECT 1 FROM record"
            " WHERE seq = NEW.halted_seq AND event = 'log.halted')"
        ),
        "a halt must follow the last one and have its record",
    ),
    (
        "halt_close_only",
        "UPDATE",
        (
            "NEW.number IS NOT OLD.number OR NEW.cause IS NOT OLD.cause"
            " OR NEW.halted_seq IS NOT OLD.halted_seq"
            " OR NEW.halted_ts IS NOT OLD.halted_ts"
            " OR OLD.released_seq IS NOT NULL"
            " OR NOT EXISTS (SELECT 1 FROM record WHERE seq = NEW.released_seq"
            " AND seq > OLD.halted_seq AND event = 'log.released')"
        ),
        "a halt can only be closed, once, by the record of its release",
    ),
)


def upgrade() -> None:
    op.create_table(
        "halt",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("halted_seq", sa.Integer(), nullable=False),
        sa.Column("halted_ts", sa.String(), nullable=False),
        sa.Column("released_seq", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    for name, verb, refused, message in RULES:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON halt WHEN {refused}"
            f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
