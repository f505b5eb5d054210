"""${message}.

MUST work with the previous release's code: add, never rename or drop. Ledger
tables (log_meta, record, checkpoint) are add-only and never in batch mode.
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
