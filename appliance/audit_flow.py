"""Takes the ledger out of a host: the records, and what is made from them.

1. what is asked for can be: the place is free, and the programs are there.
2. the export is on record, then written; see ``ledger.export``.
3. where one file is wanted, the written folder is packed, and the file published.
"""

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path

from appliance.audit_formats.derive import Format, derive
from appliance.audit_media.iso_image import find_xorriso, write_iso
from appliance.audit_media.new_file import publish, scratch_beside
from appliance.audit_media.tar_file import write_tar
from appliance.host import OpenHost, tool_name
from appliance.ledger.export import Export, export
from appliance.ledger.out_folder import check_place


class Carrier(StrEnum):
    """What an export is written as."""

    FOLDER = "folder"
    TAR = "tar"
    ISO = "iso"


def export_ledger(
    host: OpenHost,
    out: Path,
    *,
    formats: Collection[Format] = (),
    carrier: Carrier = Carrier.FOLDER,
) -> Export:
    """Write the ledger to the new ``out``; that it was is itself on record.

    Args:
        host: Whose ledger.
        out: Where; it MUST NOT exist, its parent must.
        formats: What is made from the records besides, for convenience.
        carrier: Whether ``out`` becomes a folder, an archive or an image.

    Raises:
        ConflictError: ``out`` exists.
        MissingError: The folder it should lie in does not, or an image is wanted
            of a host without xorriso.
        DigestMismatchError: The records do not hash to the signed root.
        AuditUnavailableError: The ledger's head is damaged.
        StorageFaultError: The disk refused, or is full.
    """
    now = host.clock.now()
    if carrier is Carrier.FOLDER:
        return _export_folder(host, out, formats=formats, now=now)
    check_place(out)
    xorriso = find_xorriso() if carrier is Carrier.ISO else ""
    with scratch_beside(out) as scratch:
        folder, packed = scratch / "export", scratch / "packed"
        made = _export_folder(host, folder, formats=formats, now=now)
        if carrier is Carrier.TAR:
            write_tar(folder, packed, top=out.stem, created=now)
        else:
            write_iso(folder, packed, program=xorriso, created=now, scratch=scratch)
        publish(packed, out)
    return dataclasses.replace(made, folder=out)


def _export_folder(
    host: OpenHost, out: Path, *, formats: Collection[Format], now: dt.datetime
) -> Export:
    def also(folder: Path) -> Iterable[str]:
        return derive(folder, formats, created=now, tool=tool_name())

    return export(
        host.database,
        out,
        log=host.log,
        keys=host.keys,
        now=now,
        tool=tool_name(),
        derive=also,
    )
