"""Keep each team's own limits, weight and priority.

A team without a row, and a column without a value, has the host's default. A
program of the release before works with the result: it never looks at the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "team_terms",
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=True),
        sa.Column("queued", sa.Integer(), nullable=True),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_day", sa.Integer(), nullable=True),
        sa.Column("weight", sa.Integer(), nullable=True),
        sa.Column("priority", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["team"], ["team.name"]),
        sa.PrimaryKeyConstraint("team"),
    )
