"""The volume descriptors of an ISO 9660 image: where its root folder lies.

Numbers are recorded twice there, in both byte orders; two that disagree are
refused, because two readers would see two images.

Source: ECMA-119 (ISO 9660), sections 7.2.3, 7.3.3 and 8.4.
"""

from dataclasses import dataclass
from typing import Final

from bundleformat.errors import MalformedError

SECTOR_BYTES: Final = 2_048
"""Size of a sector, and of a logical block of the images read here. Unit: bytes."""

DESCRIPTORS_OFFSET: Final = 16 * SECTOR_BYTES
"""Where the descriptors begin; what lies before is not looked at. Unit: bytes."""

MAX_DESCRIPTORS: Final = 16
"""Most descriptors looked at; images have two to four."""

_MARK: Final = b"CD001"
_PRIMARY, _TERMINATOR = 1, 255


@dataclass(frozen=True, kw_only=True, slots=True)
class PrimaryVolume:
    """What the primary volume descriptor says.

    Attributes:
        size_bytes: How long the image says it is.
        root_record: The directory record of its root folder.
    """

    size_bytes: int
    root_record: bytes


def has_descriptor(data: bytes) -> bool:
    """Return whether ``data`` looks like the beginning of a volume descriptor."""
    return data[1:6] == _MARK


def both_endian(data: bytes, *, where: str) -> int:
    """Return the number that ``data`` holds in both byte orders.

    Raises:
        MalformedError: The two disagree.
    """
    half = len(data) // 2
    little = int.from_bytes(data[:half], "little")
    big = int.from_bytes(data[half:], "big")
    if little != big:
        raise MalformedError(
            "a number differs between its two byte orders",
            where=where,
            actual=f"{little} and {big}",
        )
    return little


def parse_descriptors(data: bytes) -> PrimaryVolume:
    """Return the primary volume of an image.

    ``data`` are the sectors from ``DESCRIPTORS_OFFSET`` on, at most
    ``MAX_DESCRIPTORS`` of them.

    Raises:
        MalformedError: There is none, or one this reader does not understand.
    """
    primary: PrimaryVolume | None = None
    for start in range(0, len(data) - SECTOR_BYTES + 1, SECTOR_BYTES):
        sector = data[start : start + SECTOR_BYTES]
        if not has_descriptor(sector):
            break
        if sector[0] == _TERMINATOR and primary is not None:
            return primary
        if sector[0] == _PRIMARY:
            if primary is not None:
                raise MalformedError("two primary volumes", where="volume descriptors")
            primary = _parse_primary(sector)
    raise MalformedError(
        "the volume descriptors have no primary volume, or no end",
        where="volume descriptors",
    )


def _parse_primary(sector: bytes) -> PrimaryVolume:
    where = "primary volume descriptor"
    expected = (
        ("version", sector[6], 1),
        ("volumes", both_endian(sector[120:124], where=where), 1),
        ("volume number", both_endian(sector[124:128], where=where), 1),
        ("block size", both_endian(sector[128:132], where=where), SECTOR_BYTES),
        ("file structure version", sector[881], 1),
    )
    for name, found, wanted in expected:
        if found != wanted:
            raise MalformedError(
                f"another {name} than this program reads",
                where=where,
                expected=str(wanted),
                actual=str(found),
            )
    return PrimaryVolume(
        size_bytes=both_endian(sector[80:88], where=where) * SECTOR_BYTES,
        root_record=sector[156:190],
    )
