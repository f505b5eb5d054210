"""Keep what witnesses signed of the ledger's heads.

A program of the release before works with the result: it never looks at the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cosignature",
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("witness", sa.String(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("imported_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness"),
    )
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER cosignature_no_{verb.lower()} BEFORE {verb}"
            " ON cosignature"
            " BEGIN SELECT RAISE(ABORT, 'cosignature is append-only'); END"
        )
