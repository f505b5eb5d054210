"""Keep what was measured of each model on each kind of host.

A program of the release before works with the result: it never looks at the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calibration",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("measured", sa.LargeBinary(), nullable=False),
        sa.Column("measured_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "host"),
    )
