"""What of a guide's outputs differs from run to run and from host to host."""

import re
from typing import Final

from tests.support.narration import masked as masked_as_in_the_readme

MASKS: Final = (
    (r"[\d,]+ are free", "FREE are free"),
    (r"^free +[\d,]+ bytes; low below [\d,]+$", "free FREE"),
    (r"files of [\d,]+ free", "files of FREE free"),
    (r"\b[0-9a-f]{48}…", "SHA256…"),
    (r"( [0-9a-f]{4}){8}$", " DIGITS"),
    (r"(provenance \S+) +\d+ bytes", r"\1  SIZE"),
    (r"\buid \d+(, login \d+)?", "uid UID"),
    (r"operator_uid +\d+", "operator_uid UID"),
    (r"\bchatcmpl-[0-9a-f]{32}\b", "CALL"),
    (r"\b\d+\.[\w-]{43}\.\d+\b", "RECEIPT"),
    (r"[A-Za-z0-9+/]{43}=", "HASH"),
    (r"(\N{EM DASH} \S+) [A-Za-z0-9+/]{50,}=*", r"\1 SIGNATURE"),
    (r"(auditor\.example\.org)\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+", r"\1+KEY"),
    (r"DATET\d\d:\d\d:\d\d(\+00:00)?", "TIME"),
)


def masked(text: str) -> str:
    """Return ``text`` without what differs."""
    text = masked_as_in_the_readme(text)
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text
