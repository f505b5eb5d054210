"""Takes the ledger out of a host: the records, and what is made from them.

1. what is asked for can be: the place is free, and the programs are there.
2. the export is on record, then written; see ``ledger.export``. The policies that
   its records name come with it, but not with the proof of a call: that is for
   whoever made it.
3. where one file is wanted, the written folder is packed, and the file published.
   If only one auditor is to read it, what is written before lies in the home alone.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from appliance.account import account_fields
from appliance.audit_formats.derive import Format, derive
from appliance.audit_media.home_scratch import scratch_at_home
from appliance.audit_media.iso_image import find_xorriso, write_iso
from appliance.audit_media.new_file import publish
from appliance.audit_media.sealed_file import Recipient, sealed_for
from appliance.audit_media.tar_file import write_tar
from appliance.host import OpenHost, tool_name
from appliance.ledger.exports.bodies_file import Fetch
from appliance.ledger.exports.export import Derive, Export, Wishes, export
from appliance.ledger.exports.out_folder import check_place, partial_folder, write_new
from appliance.ledger.exports.places import places_between, proof_wishes
from appliance.ledger.exports.redaction import Redaction
from appliance.ledger.exports.selection import Selection
from appliance.ledger.log.consistency import consistency_file, held_checkpoint
from appliance.ledger.log.head import read_note, read_verified_head
from appliance.ledger.log.rotation import key_chain
from appliance.ledger.records.events import Event
from appliance.ledger.records.fields import JSON
from appliance.ledger.tree.note import Checkpoint
from appliance.policy_text_flow import write_policies
from appliance.scratch import scratch_beside
from bundleformat.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What an auditor asks for; each is optional.

    Attributes:
        start: The first record's number, or a day or moment.
        end: The last record's number, or a day or moment; a day counts whole.
        event: Only this event.
        team: Only this team.
        model: Only records that name this model, and those of the same requests.
        since: Checkpoints that the auditor holds: the name of each and its bytes.
        redaction: How much is told of the records.
    """

    start: str | None = None
    end: str | None = None
    event: str | None = None
    team: str | None = None
    model: str | None = None
    since: tuple[tuple[str, bytes], ...] = ()
    redaction: Redaction = Redaction.DIGEST


class Carrier(StrEnum):
    """What an export is written as."""

    FOLDER = "folder"
    TAR = "tar"
    ISO = "iso"
    SEALED = "sealed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What an export is to be like, apart from its records.

    Attributes:
        carrier: Whether it becomes a folder, an archive, an image, or an archive
            that is encrypted.
        formats: What is made from the records besides, for convenience.
        recipient: For whom it is encrypted, if it is.
    """

    carrier: Carrier = Carrier.FOLDER
    formats: Collection[Format] = ()
    recipient: Recipient | None = None

    def fields(self) -> Mapping[str, JSON]:
        """Return what ``log.exported`` says of it, and of who asked."""
        return {
            **account_fields(),
            "carrier": str(self.carrier),
            "formats": [str(each) for each in self.formats] or None,
            "recipient": self.recipient.key_id if self.recipient else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """What it takes to give prompts and answers away.

    Attributes:
        fetch: Gives them, each with its salt.
        allow: Refuses, in the transaction that records the export.
        fields: What ``log.exported`` says of why and by whose leave.
    """

    fetch: Fetch
    allow: Callable[[Connection], object]
    fields: Mapping[str, JSON]


def export_ledger(
    host: OpenHost,
    out: Path,
    *,
    form: Form | None = None,
    asked: Asked | None = None,
    texts: Texts | None = None,
    more: Derive | None = None,
) -> Export:
    """Write the ledger to the new ``out``; that it was is itself on record.

    Args:
        host: Whose ledger.
        out: Where; it MUST NOT exist, its parent must.
        form: What it is to be like; a folder with nothing but the records if not told.
        asked: Which records, and what the auditor holds already; else everything.
        texts: Gives what the records commit to; there are none without.
        more: Makes further files from the records.

    Raises:
        UsageError: What is asked for does not exist, or nobody allowed it.
        RollbackError, EquivocationError, SignatureError: A checkpoint that is held
            is not of this ledger.
        ConflictError: ``out`` exists.
        MissingError: The folder it should lie in does not, or an image is wanted
            of a host without xorriso.
        DigestMismatchError: The records do not hash to the signed root.
        AuditUnavailableError: The ledger's head is damaged.
        StorageFaultError: The disk refused, or is full.
    """
    form, asked = form or Form(), asked or Asked()
    now = host.clock.now()
    _check_formats(form.formats, asked.redaction)
    with host.look() as connection:
        wishes = _wishes(connection, asked, form=form, texts=texts)
    write = partial(
        _export_folder,
        host,
        formats=form.formats,
        more=(partial(write_policies, host), *((more,) if more else ())),
        now=now,
        wishes=wishes,
    )
    if form.carrier is Carrier.FOLDER:
        return write(out)
    check_place(out)
    if form.recipient is not None:
        return _sealed(host, out, form.recipient, write=write, now=now)
    xorriso = find_xorriso() if form.carrier is Carrier.ISO else ""
    with scratch_beside(out) as scratch:
        folder, packed = scratch / "export", scratch / "packed"
        made = write(folder)
        if form.carrier is Carrier.TAR:
            with packed.open("xb") as file:
                write_tar(folder, file, top=out.stem, created=now)
        else:
            write_iso(folder, packed, program=xorriso, created=now, scratch=scratch)
        publish(packed, out)
    return dataclasses.replace(made, folder=out)


def _sealed(
    host: OpenHost,
    out: Path,
    recipient: Recipient,
    *,
    write: Callable[[Path], Export],
    now: dt.datetime,
) -> Export:
    with scratch_at_home(host.home) as scratch:
        made = write(scratch / "export")
        with scratch_beside(out) as beside:
            packed = beside / "packed"
            with packed.open("xb") as file, sealed_for(recipient, file) as sink:
                write_tar(made.folder, sink, top=archive_name(out), created=now)
            publish(packed, out)
    return dataclasses.replace(made, folder=out)


def archive_name(out: Path) -> str:
    """Return what the folder in an encrypted archive is called."""
    return out.name.removesuffix(".age").removesuffix(".tar") or "export"


def _export_folder(
    host: OpenHost,
    out: Path,
    *,
    formats: Collection[Format],
    more: Sequence[Derive] = (),
    now: dt.datetime,
    wishes: Wishes,
) -> Export:
    def also(folder: Path) -> Iterable[str]:
        yield from derive(folder, formats, created=now, tool=tool_name())
        for each in more:
            yield from each(folder)

    return export(
        host.database,
        out,
        log=host.log,
        keys=host.keys,
        now=now,
        tool=tool_name(),
        wishes=wishes,
        derive=also,
    )


def prove(
    host: OpenHost,
    what: str,
    out: Path,
    *,
    since: tuple[tuple[str, bytes], ...] = (),
) -> Export:
    """Write the records of one call, and what proves them, to the new folder ``out``.

    Args:
        host: Whose ledger.
        what: A record's number, a request's id, or the receipt of an answer.
        out: Where; it MUST NOT exist, its parent must.
        since: Checkpoints that the auditor holds, as in ``Asked``.

    Raises:
        MissingError: There is no such record.
        RollbackError, EquivocationError: The receipt, or a checkpoint that is held,
            is not of this ledger.
        ConflictError: ``out`` exists.
        StorageFaultError: The disk refused, or is full.
    """
    with host.look() as connection:
        wishes = dataclasses.replace(
            proof_wishes(connection, what, log=host.log),
            since=_held(connection, since),
            asked=Form().fields(),
        )
    return _export_folder(host, out, formats=(), now=host.clock.now(), wishes=wishes)


def write_checkpoint(
    host: OpenHost, out: Path, *, since: tuple[tuple[str, bytes], ...]
) -> int:
    """Write the newest checkpoint, and what a witness needs, to the new folder ``out``.

    Nothing is recorded: a head and hashes say nothing of any record. Returns how
    many records the checkpoint covers.

    Raises:
        RollbackError, EquivocationError, SignatureError: A checkpoint that is held
            is not of this ledger.
        ConflictError: ``out`` exists.
        StorageFaultError: The disk refused, or is full.
    """
    check_place(out)
    with host.look() as connection, partial_folder(out) as folder:
        size = read_verified_head(connection, log=host.log).size
        note = read_note(connection)
        write_new(folder / "checkpoint.txt", note.encode())
        write_new(folder / "epoch-keys.jsonl", key_chain(connection, size=size))
        (folder / "consistency").mkdir(mode=0o700)
        for name, data in since:
            held = held_checkpoint(connection, data, where=name)
            proof = consistency_file(connection, held, size=size, note=note)
            write_new(folder / "consistency" / f"{held.size}-{size}.txt", proof)
    return size


def find_selection(connection: Connection, asked: Asked) -> Selection:
    """Return which records are asked for.

    Raises:
        UsageError: There is no such event, or the range ends before it begins.
        MissingError: There is no record at that time.
    """
    if asked.event is not None and asked.event not in set(Event):
        raise UsageError(
            "there is no such event",
            where="--event",
            actual=ascii(asked.event),
            hint="Events are named as in the last lines of verify.py: llm.request.",
        )
    first, last = places_between(connection, asked.start, asked.end)
    return Selection(
        first=first,
        last=last,
        event=asked.event,
        team=asked.team,
        model=asked.model,
    )


def _wishes(
    connection: Connection, asked: Asked, *, form: Form, texts: Texts | None
) -> Wishes:
    wishes = Wishes(
        selection=find_selection(connection, asked),
        since=_held(connection, asked.since),
        redaction=asked.redaction,
        asked=form.fields(),
    )
    if asked.redaction is not Redaction.FULL:
        return wishes
    if texts is None or form.recipient is None:
        raise UsageError(
            "prompts and answers leave by a second person's leave, encrypted",
            where="--redact",
            hint="Name --recipient and --reason, and --ask FILE first.",
        )
    return dataclasses.replace(
        wishes,
        bodies=texts.fetch,
        asked={**wishes.asked, **texts.fields},
        allow=texts.allow,
    )


def _held(
    connection: Connection, since: tuple[tuple[str, bytes], ...]
) -> tuple[Checkpoint, ...]:
    return tuple(held_checkpoint(connection, data, where=name) for name, data in since)


def _check_formats(formats: Collection[Format], redaction: Redaction) -> None:
    if formats and redaction is Redaction.METADATA:
        raise UsageError(
            "these are made from records, and this export withholds the records",
            where="--format, --redact",
            actual=", ".join(formats),
            hint="Leave --format away; what may be told is in the listing.",
        )
