"""Splits a key file into its PEM blocks; what they hold is read elsewhere.

Text outside the blocks is allowed and ignored, as in every PEM file. A block of
any other label than those of ``LABELS``, an unencrypted private key among them,
makes the whole file unusable.

Source: RFC 7468, sections 2 and 3.
"""

import base64
import re
import textwrap
from dataclasses import dataclass
from typing import Final

PRIVATE_LABEL: Final = "ENCRYPTED PRIVATE KEY"
"""A PKCS #8 key under a passphrase. Source: RFC 7468, section 11."""

PUBLIC_LABEL: Final = "PUBLIC KEY"
"""A SubjectPublicKeyInfo. Source: RFC 7468, section 13."""

TOKEN_LABEL: Final = "SALLYPORT TOKEN KEY"  # noqa: S105 - a label, and public
"""Where in a PKCS #11 token a key lies. Ours; see ``hsm.py``."""

LABELS: Final = frozenset({PRIVATE_LABEL, PUBLIC_LABEL, TOKEN_LABEL})

MAX_BLOCKS: Final = 2
"""Most keys of one holder."""

_BLOCK = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9 ]{1,40})-----\r?$"
    rb"(?P<body>[^-]*)"
    rb"^-----END (?P=label)-----\r?$\n?",
    re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One PEM block.

    Attributes:
        label: What it claims to hold.
        body: Its base64, as it stands.
        pem: The whole block.
    """

    label: str
    body: bytes
    pem: bytes


def parse_blocks(data: bytes) -> tuple[Block, ...]:
    """Return the blocks of a key file, or none if they are not what one holds.

    A file is either public or private as a whole.
    """
    blocks = tuple(
        Block(label=match["label"].decode("ascii"), body=match["body"], pem=match[0])
        for match in _BLOCK.finditer(data)
    )
    labels = {block.label for block in blocks}
    whole = data.count(b"-----BEGIN ") == data.count(b"-----END ") == len(blocks)
    if not whole or len(blocks) > MAX_BLOCKS or not labels <= LABELS:
        return ()
    return () if PUBLIC_LABEL in labels and len(labels) > 1 else blocks


def pem_block(label: str, data: bytes) -> bytes:
    """Return ``data`` as a PEM block."""
    body = "\n".join(textwrap.wrap(base64.b64encode(data).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode("ascii")
