"""Keep which models crashed so often that their engines are not started again.

A program of the release before works with the result; it does not know of them
and starts their engines.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "taken_out_model",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("taken_out_ts", sa.String(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
