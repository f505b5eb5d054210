"""Keep the order of activations, what was collected, and which models were removed.

What is active when this runs is entered as activated then, so that a rollback
knows it. Nothing is taken away: a program of the release before works with the
result, it only adds no line to the order.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generation", sa.Column("collected_ts", sa.String(), nullable=True))
    op.create_table(
        "activation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("activated_ts", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["generation"], ["generation.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_activation_generation", "activation", ["generation"])
    op.create_table(
        "removed_model",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("removed_ts", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    # Versions of a channel were only ever activated in the order of their ids
    # by a release that had no rollback, the active one last of all.
    op.execute(
        "INSERT INTO activation (generation, reason, activated_ts) "
        "SELECT id, 'import', activated_ts FROM generation ORDER BY active, id"
    )
