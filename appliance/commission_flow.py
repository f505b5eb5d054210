"""Makes an isolated host ready to be trusted, once per channel.

1. The root file's fingerprint equals the one a person brought on paper.
2. Folders and secrets exist; what an interrupted run left is used again.
3. In one transaction: the ledger (if this is the first channel), the channel's
   trust state, and the record of both.

Until step 3 commits, the host is not commissioned and every other command says
so; afterwards it is, completely.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.clock import Clock
from appliance.db.session import create_database, database_faults
from appliance.errors import HostNotReadyError
from appliance.home import PEPPER_BYTES, Home
from appliance.host import tool_name
from appliance.intake import trust_state
from appliance.ledger.log.append import append
from appliance.ledger.log.commission import commission, open_ledger, read_identity
from appliance.ledger.records.events import Draft, Event, Outcome
from appliance.private_file import read_private_file, write_private_file
from bundleformat.errors import ConflictError, RollbackError, StorageFaultError
from bundleformat.trust import RootFacts, check_root, initial_state
from bundleformat.trust import fingerprint as fingerprint_of
from bundleformat.verify_checks import check_state_floor

ORIGIN_PREFIX = "sallyport"
"""First part of every ledger's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Commissioned:
    """What ``trust init`` achieved; ``vkey`` is for the auditor to take away."""

    root: RootFacts
    fingerprint: str
    vkey: str
    first: bool


def initialise_trust(
    home: Home, root_bytes: bytes, *, fingerprint: str, clock: Clock
) -> Commissioned:
    """Trust ``root_bytes`` on this host from now on.

    Raises:
        SignatureError: The fingerprint is another root's; nothing was made.
        HostNotReadyError: Others may write to the home, or its pepper is damaged.
        ConflictError: This host already trusts a root for that channel, and
            nobody has put its trust state back to an older one.
        RollbackError: This host has accepted a newer root of that channel.
        StorageFaultError: The disk refused; running it again goes on.
    """
    now = clock.now()
    # 1. The fingerprint is the paper's, and the file is a whole root.
    state = initial_state(root_bytes, fingerprint=fingerprint, now=now)
    root = check_root(root_bytes, now=now)
    # 2. Folders and secrets.
    try:
        home.create_folders()
    except OSError as error:
        raise StorageFaultError(
            "the home folder cannot be made",
            where=str(home.root),
            actual=str(error.strerror),
        ) from error
    if not home.pepper.exists():
        write_private_file(home.pepper, secrets.token_bytes(PEPPER_BYTES))
    read_private_file(home.pepper, size_bytes=PEPPER_BYTES)
    database = create_database(home.database)
    # 3. One transaction.
    with database_faults(database), database.begin() as connection:
        first = _ensure_ledger(connection, home, clock)
        log, keys = open_ledger(connection, key_path=home.ledger_key)
        _check_new(connection, root)
        trust_state.save(connection, channel=root.channel, state=state, floor=None)
        trusted = Draft(
            event=Event.TRUST_INITIALISED,
            outcome=Outcome.OK,
            fields={
                "channel": root.channel,
                "root_sha256": fingerprint_of(root_bytes),
                "root_version": root.version,
                **account_fields(),
            },
        )
        append(connection, [trusted], log=log, keys=keys, now=clock.now())
    database.dispose()
    return Commissioned(
        root=root,
        fingerprint=fingerprint_of(root_bytes),
        vkey=log.vkey,
        first=first,
    )


def _check_new(connection: Connection, root: RootFacts) -> None:
    """Check that the channel has no trust state, or one that was put back.

    The floor stays in either case: nothing older than it is accepted again, and
    no older root, whose keys may have been revoked.
    """
    channel, floor = root.channel, trust_state.load_floor(connection, root.channel)
    if floor is not None and root.version < floor.root_version:
        raise RollbackError(
            "root version older than what this machine has accepted",
            where="root",
            expected=f"at least {floor.root_version}",
            actual=str(root.version),
            hint="Begin with the newest root of this channel.",
        )
    if channel not in trust_state.channels(connection):
        return
    known = trust_state.load(connection, channel)
    try:
        check_state_floor(known.state, known.floor)
    except RollbackError:
        return
    raise ConflictError(
        "this host already trusts a root for the channel",
        where=channel,
        hint="A newer root arrives in a bundle: sallyport bundle import",
    )


def _ensure_ledger(connection: Connection, home: Home, clock: Clock) -> bool:
    """Create the ledger unless there is one; return whether it was created."""
    try:
        read_identity(connection)
    except HostNotReadyError:
        commission(
            connection,
            key_path=home.ledger_key,
            site=ORIGIN_PREFIX,
            tool=tool_name(),
            now=clock.now(),
        )
        return True
    return False
