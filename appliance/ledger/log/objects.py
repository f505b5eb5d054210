"""What the migrations made of the ledger's tables, and whether it is still so.

Triggers keep honest code from changing the past. One that is gone, or one too many,
says that somebody meant to. Whoever can drop a trigger can also put it back: what was
changed in between is shown by ``audit fsck`` and by checkpoints held elsewhere.
Source: SQLite, "The Schema Table" and "PRAGMA schema_version".
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection

from appliance.errors import AuditUnavailableError
from appliance.ledger.records.events import token_or_digest
from bundleformat.ledger_release import Cause

TABLES: Final = (
    *("checkpoint", "cosignature", "epoch_key", "halt", "hold"),
    *("log_meta", "prune_range", "record", "subtree"),
)
"""The tables of the ledger; of these every index counts as well."""

EXPECTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "index:ix_record_event_ts": "5cb83a5aec75259c43b2207b1a5b1d16",
        "index:ix_record_request_id": "91d40c877cac5659dc58bffab91bd87a",
        "index:ix_record_team_ts": "d9d1637f60d57783f133e1bf34447045",
        "index:sqlite_autoindex_cosignature_1": "4a2f3a534f67fbb0f5e97a5b5fb74f96",
        "index:sqlite_autoindex_log_meta_1": "f89939fb9524526b5de0d0557dd6b671",
        "index:sqlite_autoindex_prune_range_1": "0d617f8c40cd266caf40df8261d82244",
        "table:checkpoint": "9d63c0614af24401f03d9311030b8863",
        "table:cosignature": "9fad51344022c85ed0913cb9543d836d",
        "table:epoch_key": "15cb22a24f6e5b5e64f9a4d17ed3984b",
        "table:halt": "29ce9ba1fe1fb07c945ecb033a47c5cb",
        "table:hold": "b8ebed9a6830bffd8db1386b41ec921c",
        "table:log_meta": "9e69b45c094f7e205124f3c31051b1d4",
        "table:prune_range": "0588f0de991d601f0742291b6bdf7b49",
        "table:record": "4460182f5ee96e955861799e3a3b6cdc",
        "table:subtree": "d8eef5905cbc653842dda945089e2661",
        "trigger:checkpoint_no_delete": "41fe14a73c385f30d38cea984df79df8",
        "trigger:checkpoint_no_update": "9b6b62e69e16ddce562bd2dd530f11fb",
        "trigger:checkpoint_order": "554e88566d470f1054d2ef80e89d8013",
        "trigger:cosignature_no_delete": "b7e8a6d1dab7a8d697df4965a5b88fee",
        "trigger:cosignature_no_update": "308bca0729b48ad1df42fd5839164186",
        "trigger:epoch_key_close_only": "3e115d967edf54eb5347971d552deeb3",
        "trigger:epoch_key_no_delete": "79aad1690cd155ffaa6783e20f58f368",
        "trigger:epoch_key_order": "d86c142938cf618f2b8f54c949910a7a",
        "trigger:halt_close_only": "ddb7515f2377b7057c0eb652ddf13d58",
        "trigger:halt_no_delete": "9fe8ea9668712716169522d276e87274",
        "trigger:halt_order": "da0e209ef2fdd0831f8c986021d7ea85",
        "trigger:hold_lift_only": "de2a3abaf9121c74fd96b031454da6d4",
        "trigger:hold_no_delete": "93c2a33b668b2ebcd4ed40f741dcb772",
        "trigger:hold_order": "61613b166c9acee7bfe4ea60b6e58e10",
        "trigger:log_meta_no_delete": "3bc44235e40460a6d662ee6bbc8d257d",
        "trigger:log_meta_no_update": "58e070b096cf9eba9b3e86a37510ce64",
        "trigger:log_meta_single": "0b4a22c0f05d4a300ad71344ca26bfd2",
        "trigger:prune_range_no_delete": "a2678c56bbc95280ec77aa8259e8a224",
        "trigger:prune_range_no_update": "cc054cd91b80331d1e69d8e0fa5c4f44",
        "trigger:prune_range_recorded": "9f736d2e212b70018380f494e801beb9",
        "trigger:record_gap": "98f437a4e83ff827ee1614bfea92d4a0",
        "trigger:record_leaf": "3bf25f84ae9245a0d48b375a958947ce",
        "trigger:record_no_delete": "f9cea3975acc242bba8abb2c03278243",
        "trigger:record_no_update": "f6b383994f1ee15879aaab3b6230d11f",
        "trigger:record_whole": "42efc295022c805c220cc65ae50a7e15",
        "trigger:subtree_no_delete": "838b4e685a8858b7116bf391892c5caf",
        "trigger:subtree_no_update": "0e1bbde039a898a56de316ce73d04483",
    }
)
"""Each object by kind and name: a digest of its table and of its SQL, which is taken
in single spaces. It is the first half of a SHA-256."""

_OBJECTS = (
    "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master"  # noqa: S608 - fixed names
    " WHERE type = 'trigger' OR tbl_name IN ('" + "', '".join(TABLES) + "')"
)


def read_objects(connection: Connection) -> dict[str, str]:
    """Return every trigger, and what belongs to the ledger's tables, as digests."""
    found = {}
    for kind, name, table, sql in connection.exec_driver_sql(_OBJECTS):
        text = f"{table}\n{' '.join(sql.split())}"
        found[f"{kind}:{name}"] = hashlib.sha256(text.encode()).hexdigest()[:32]
    return found


def check_objects(
    connection: Connection, *, expected: Mapping[str, str] = EXPECTED
) -> None:
    """Check that nothing was dropped, added or written anew.

    Raises:
        AuditUnavailableError: Something was; it is named.
    """
    found = read_objects(connection)
    if found == expected:
        return
    names = sorted(
        name
        for name in found.keys() | expected.keys()
        if found.get(name) != expected.get(name)
    )
    tokens = tuple(token_or_digest(name) for name in names)
    raise AuditUnavailableError(
        "what the migrations made of the ledger's tables was changed",
        actual=", ".join(tokens),
        cause=Cause.CHANGED_TRIGGERS,
        details={"changed": tokens},
    )


class ObjectsWatch:
    """Looks again when the schema's version says that there is a reason to."""

    def __init__(self) -> None:
        self._version: int | None = None

    def look(self, connection: Connection, *, closely: bool = False) -> None:
        """Check as ``check_objects``; ``closely`` does not believe the version.

        Raises:
            AuditUnavailableError: Something was changed.
        """
        version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
        if closely or version != self._version:
            self._version = None
            check_objects(connection)
            self._version = version
