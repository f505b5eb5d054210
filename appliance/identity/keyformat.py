"""The text of an API key: ``spk_<8 id>_<43 secret><6 check>``.

The id names the row, the secret is 256 bits in base 62, and the check is a
CRC-32 over all before it: a mistyped or cut key is turned away without a
look-up, and scanners can tell a real key from a look-alike.
"""

import re
import secrets
import string
import zlib

PREFIX = "spk_"
"""What every key starts with."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_CHARACTERS = 8
_SECRET_CHARACTERS = 43
_CHECK_CHARACTERS = 6

KEY_CHARACTERS = (
    len(PREFIX) + _ID_CHARACTERS + 1 + _SECRET_CHARACTERS + _CHECK_CHARACTERS
)
"""How long every key is. Unit: characters, all of them ASCII."""

_KEY = re.compile(r"spk_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")


def mint_text() -> str:
    """Return a new key from the system's source of randomness."""
    body = f"{PREFIX}{_draw(_ID_CHARACTERS)}_{_draw(_SECRET_CHARACTERS)}"
    return body + _check(body)


def key_id_of(text: str) -> str | None:
    """Return the id inside a key, or None if the text is not a well-formed key."""
    if len(text) != KEY_CHARACTERS or not _KEY.fullmatch(text):
        return None
    if _check(text[:-_CHECK_CHARACTERS]) != text[-_CHECK_CHARACTERS:]:
        return None
    return text[len(PREFIX) : len(PREFIX) + _ID_CHARACTERS]


def _draw(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))


def _check(body: str) -> str:
    rest = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(_CHECK_CHARACTERS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
