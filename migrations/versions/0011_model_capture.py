"""Keep the most that is captured of prompts and answers to a model.

A program of the release before works with the result: it never looks at the table,
and what it captures is what the team's level says.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_capture",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("capture", sa.String(), nullable=False),
        sa.Column("set_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
