"""The salted commitment by which a record binds a text without holding it; pure.

``SHA-256("sallyport/body/v1" || 0x00 || salt || body)`` over 32 random bytes and the
body's own. Whoever has salt and body can show that they are what was recorded;
without the salt not even a guessed body can be confirmed.
"""

import hashlib

CONTEXT = b"sallyport/body/v1\0"
"""What every commitment begins with, so that no other digest can be taken for one."""

SALT_BYTES = 32
"""Size of a salt. Unit: bytes."""


class Commitment:
    """Commits to one body, which may come piece by piece.

    Attributes:
        salt: The random bytes; in no record.
        size_bytes: How long the body is so far.
    """

    def __init__(self, salt: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError("a salt of another size")
        self.salt = salt
        self.size_bytes = 0
        self._digest = hashlib.sha256(CONTEXT + salt)

    def add(self, data: bytes) -> None:
        """Append ``data`` to the body."""
        self._digest.update(data)
        self.size_bytes += len(data)

    def hexdigest(self) -> str:
        """Return the commitment to the body so far, in lower-case hexadecimal."""
        return self._digest.hexdigest()
