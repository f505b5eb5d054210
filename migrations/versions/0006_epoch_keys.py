"""Keep which key signed which heads of the ledger; begin with the one it has.

The triggers let a row be closed once and marked as destroyed once; nothing else of
it changes. A program of the release before works with the result as long as the
first key is open: it never looks at the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RULES = (
    ("epoch_key_no_delete", "BEFORE DELETE", "1", "a key of the ledger is kept"),
    (
        "epoch_key_order",
        "BEFORE INSERT",
        (
            "NEW.epoch IS NOT (SELECT coalesce(max(epoch), -1) + 1 FROM epoch_key)"
            " OR NEW.to_size IS NOT NULL OR NEW.destroyed_ts IS NOT NULL"
            " OR NEW.from_size IS NOT coalesce((SELECT to_size FROM epoch_key"
            " WHERE epoch = NEW.epoch - 1), CASE NEW.epoch WHEN 0 THEN 0 END)"
        ),
        "a key must follow the one that was closed for it",
    ),
    (
        "epoch_key_close_only",
        "BEFORE UPDATE",
        (
            "NEW.epoch IS NOT OLD.epoch OR NEW.vkey IS NOT OLD.vkey"
            " OR NEW.from_size IS NOT OLD.from_size"
            " OR NEW.rotate_seq IS NOT OLD.rotate_seq"
            " OR (OLD.to_size IS NOT NULL AND NEW.to_size IS NOT OLD.to_size)"
            " OR (OLD.destroyed_ts IS NOT NULL"
            " AND NEW.destroyed_ts IS NOT OLD.destroyed_ts)"
            " OR (NEW.destroyed_ts IS NOT NULL AND NEW.to_size IS NULL)"
            " OR NEW.to_size <= OLD.from_size"
        ),
        "a key of the ledger can only be closed, then marked as destroyed",
    ),
)


def upgrade() -> None:
    op.create_table(
        "epoch_key",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vkey", sa.String(), nullable=False),
        sa.Column("from_size", sa.Integer(), nullable=False),
        sa.Column("to_size", sa.Integer(), nullable=True),
        sa.Column("rotate_seq", sa.Integer(), nullable=False),
        sa.Column("destroyed_ts", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("epoch"),
    )
    for name, moment, refused, message in RULES:
        op.execute(
            f"CREATE TRIGGER {name} {moment} ON epoch_key WHEN {refused}"
            f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
    op.execute(
        "INSERT INTO epoch_key (epoch, vkey, from_size, rotate_seq)"
        " SELECT 0, vkey, 0, 0 FROM log_meta"
    )
