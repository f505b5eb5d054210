"""Signs with keys that never leave a PKCS #11 token: a smart card, or an HSM.

The module that ``--module`` names is a program: whoever can write it, or the
``.key`` file that names it, decides what runs when the key signs. So a module
that others can write is not loaded, and the file is kept like every other key.

The PIN is asked for once, before the work whose result is signed begins, and a
wrong one is never tried twice: tokens lock after a few.

Source: PKCS #11 v3.1, sections 4.7 and 6.3; ``securesystemslib`` 1.6,
``HSMSigner``.
"""

import importlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from securesystemslib.exceptions import (
    UnsupportedLibraryError,
    UnverifiedSignatureError,
)
from securesystemslib.signer import HSMSigner, Signature

from bundleformat.errors import MalformedError
from bundler.errors import KeyFileError
from bundler.signing.passphrase import Passphrases
from bundler.signing.token_key import (
    MAX_ID_BYTES,
    TokenKey,
    fits_an_id,
    public_key_from_der,
)

DEFAULT_MODULE: Final = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")
"""OpenSC, which knows most smart cards; where Debian has it."""

MODULE_VARIABLE: Final = "PYKCS11LIB"
"""How ``HSMSigner`` is told the module; it has no argument for it."""

_PROBLEMS: Final = {
    "PinIncorrect": "the token refuses this PIN",
    "PinInvalid": "the token refuses this PIN",
    "PinLenRange": "the token refuses this PIN",
    "PinExpired": "the PIN has expired",
    "PinLocked": "the token is locked after too many wrong PINs",
    "UserPinNotInitialized": "the token has no PIN yet",
    "NoSuchToken": "no token of this name is plugged in",
    "MultipleTokensReturned": "more than one token of this name is plugged in",
    "NoSuchKey": "the token holds no such key",
    "MultipleObjectsReturned": "the token holds more than one such key",
}
"""What the errors of the token's library mean, by class."""


class TokenSigner(HSMSigner):
    """Signs in a token, and checks that the token used the key it was told."""

    def __init__(self, key: TokenKey, passphrases: Passphrases) -> None:
        """Take where the key is, and who knows its PIN; no token is touched."""
        super().__init__(
            int.from_bytes(key.key_id, "big"),
            key.public_key,
            lambda _: passphrases.for_token(key.token).decode("utf-8"),
            token_label=key.token,
        )
        self._key = key

    def check_ready(self) -> None:
        """Check that the token is there, takes the PIN and holds the key.

        Raises:
            KeyFileError, UsageError: As ``sign``.
        """
        check_module(self._key.module)
        with _translated(self._key.place):
            pkcs11 = _library()
            found = pkcs11.lib(str(self._key.module)).get_token(
                token_label=self._key.token
            )
            with found.open(user_pin=self.pin_handler("pin")) as session:
                session.get_key(
                    object_class=pkcs11.ObjectClass.PRIVATE_KEY,
                    key_type=pkcs11.KeyType.EC,
                    id=self._key.key_id,
                )

    def sign(self, payload: bytes) -> Signature:
        """Return a signature over ``payload``.

        Raises:
            KeyFileError: The token is not there, refuses the PIN, or does not hold
                this key; or the module cannot be used.
            UsageError: There is no way to learn the PIN.
        """
        check_module(self._key.module)
        with _module_named(self._key.module), _translated(self._key.place):
            signature = super().sign(payload)
            self.public_key.verify_signature(signature, payload)
        return signature


def token_signer(key: TokenKey, passphrases: Passphrases) -> TokenSigner:
    """Return a signer for a key in a token, which is not touched yet.

    Raises:
        KeyFileError: The library that speaks to tokens is not installed.
    """
    with _translated(key.place):
        return TokenSigner(key, passphrases)


def find_token_key(
    *, module: Path, token: str, label: str, passphrases: Passphrases
) -> TokenKey:
    """Return the key of this label; the PIN is asked for only where it must be.

    Raises:
        KeyFileError: No such module, token or key; or one that cannot be used.
        UsageError: The token wants its PIN, and there is no way to learn it.
    """
    check_module(module)
    place = f"token {token}, key {label}"
    with _translated(place):
        found = _find(module, token, label, pin=None)
        if found is None:
            # Some tokens show even public keys only to their owner.
            pin = passphrases.for_token(token).decode("utf-8")
            found = _find(module, token, label, pin=pin)
    if found is None:
        raise KeyFileError(
            "the token holds no such key",
            where=place,
            expected="the label of an EC key",
            hint="`pkcs11-tool --list-objects` shows what the token holds.",
        )
    key_id, der = found
    if not fits_an_id(key_id):
        raise KeyFileError(
            "the key has no id by which it can be found",
            where=place,
            expected=f"a CKA_ID of 1 to {MAX_ID_BYTES} bytes, the first not zero",
            actual=key_id.hex() or "none",
        )
    try:
        public = public_key_from_der(der)
    except MalformedError as error:
        raise KeyFileError(
            error.problem, where=place, expected="P-256 or P-384"
        ) from error
    return TokenKey(
        module=module, token=token, label=label, key_id=key_id, public_key=public
    )


def check_module(path: Path) -> None:
    """Check that a module is a file that only its owner can replace.

    Raises:
        KeyFileError: It is not.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise KeyFileError(
            "the PKCS #11 module cannot be read",
            where=str(path),
            actual=error.strerror or str(error),
            hint="Name your token's library with --module.",
        ) from error
    usable = path.is_absolute() and stat.S_ISREG(status.st_mode)
    if not usable or status.st_mode & 0o022:
        raise KeyFileError(
            "not a PKCS #11 module to load",
            where=str(path),
            expected="the absolute path of a file that only its owner can write",
            actual=stat.filemode(status.st_mode),
        )


def _find(
    module: Path, token: str, label: str, *, pin: str | None
) -> tuple[bytes, bytes] | None:
    pkcs11 = _library()
    ec = importlib.import_module("pkcs11.util.ec")
    opened = pkcs11.lib(str(module)).get_token(token_label=token)
    with opened.open(user_pin=pin) as session:
        try:
            key = session.get_key(
                object_class=pkcs11.ObjectClass.PUBLIC_KEY,
                key_type=pkcs11.KeyType.EC,
                label=label,
            )
        except pkcs11.NoSuchKey:
            return None
        return bytes(key.id), ec.encode_ec_public_key(key)


def _library() -> Any:  # noqa: ANN401 - an extra that need not be installed
    """Return ``pkcs11``, loaded only when a token is used.

    Raises:
        UnsupportedLibraryError: It is not installed.
    """
    try:
        return importlib.import_module("pkcs11")
    except ImportError as error:
        raise UnsupportedLibraryError(str(error)) from error


@contextmanager
def _module_named(module: Path) -> Iterator[None]:
    before = os.environ.get(MODULE_VARIABLE)
    os.environ[MODULE_VARIABLE] = str(module)
    try:
        yield
    finally:
        if before is None:
            del os.environ[MODULE_VARIABLE]
        else:
            os.environ[MODULE_VARIABLE] = before


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Raise the error of our tree that says the same as the libraries'."""
    try:
        yield
    except UnsupportedLibraryError as error:
        raise KeyFileError(
            "the library that speaks to tokens is not installed",
            where=place,
            hint="Install it with `pip install 'sallyport[bundler,hsm]'`.",
        ) from error
    except UnverifiedSignatureError as error:
        raise KeyFileError("the token signed with another key", where=place) from error
    except ValueError as error:
        # HSMSigner's own words: no such token, no such key, or more than one.
        raise KeyFileError(
            "the token cannot be used", where=place, actual=str(error)
        ) from error
    except RuntimeError as error:
        # Every error of the token's library; they have no text of their own.
        if not isinstance(error, _library().PKCS11Error):
            raise
        name = type(error).__name__
        raise KeyFileError(
            _PROBLEMS.get(name, "the token cannot be used"),
            where=place,
            actual="" if name in _PROBLEMS else f"{name} {error}".strip(),
            hint="A wrong PIN was not tried again: a token locks after a few."
            if name.startswith("Pin")
            else "",
        ) from error
