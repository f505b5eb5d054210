"""Keep the hashes of the ledger's tree above its leaves, from subtrees of 256 on.

Those of the records that are there already are computed once. A program of the
release before appends records without them: stop it first, and bring it back only
with the database it knew.
Source: RFC 6962, section 2.1.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LEAST = 256

MESSAGE = "subtree is append-only"


def upgrade() -> None:
    op.create_table(
        "subtree",
        sa.Column("leaves", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaves", "place"),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind())
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER subtree_no_{verb.lower()} BEFORE {verb} ON subtree"
            f" BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )


def _fill(connection: sa.Connection) -> None:
    rows = connection.exec_driver_sql("SELECT seq, leaf FROM record ORDER BY seq")
    stack: list[bytes] = []
    for seq, leaf in rows.yield_per(1_000):
        root, full, leaves = leaf, seq, 1
        while full & 1:
            root = hashlib.sha256(b"\x01" + stack.pop() + root).digest()
            full, leaves = full >> 1, 2 * leaves
            if leaves >= LEAST:
                connection.exec_driver_sql(
                    "INSERT INTO subtree VALUES (?, ?, ?)",
                    (leaves, seq + 1 - leaves, root),
                )
        stack.append(root)
