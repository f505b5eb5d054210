"""Keep what is captured of each team's prompts and answers.

Every team that is there captures nothing but metadata, as before. A program of the
release before works with the result: it never names the column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "team",
        sa.Column("capture", sa.String(), nullable=False, server_default="metadata"),
    )
