"""The private keys that sign the ledger's heads: one file for each epoch.

A key is an unencrypted PKCS8 file that only its owner may read, because the server
must start without a person. Whoever reads it can sign other records for the epoch
that is open, from the last checkpoint that somebody holds elsewhere. The keys of
closed epochs are no longer here: their files are unlinked, which on an SSD, a
journaling file system or a backup does not mean that no bit of them is left.
"""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.durable import sync_folder
from appliance.errors import HostNotReadyError
from appliance.ledger.log.head import OpenEpoch
from appliance.ledger.tree.note import parse_vkey
from appliance.private_file import read_private_file, write_private_file
from bundleformat.errors import RollbackError, SignatureError, StorageFaultError


class LedgerKeys:
    """Finds the private key of the open epoch, whoever opened that epoch.

    Args:
        first: The file of epoch 0; those of later epochs lie beside it.
    """

    def __init__(self, first: Path) -> None:
        self._first = first
        # One value, so that another thread sees a key with its own name or neither.
        self._loaded: tuple[OpenEpoch, Ed25519PrivateKey] | None = None

    def path(self, epoch: int) -> Path:
        """Return where the key of an epoch lies, or lay."""
        name = f"{self._first.stem}.{epoch}{self._first.suffix}"
        return self._first.with_name(name) if epoch else self._first

    def signer(self, opened: OpenEpoch) -> Ed25519PrivateKey:
        """Return the private key of the open epoch.

        Raises:
            RollbackError: Its key has given way to a newer one, so that the database
                is older than the keys beside it.
            HostNotReadyError: Its file is missing, readable by others or no key.
            SignatureError: The key there is another one.
        """
        if self._loaded is not None and self._loaded[0] == opened:
            return self._loaded[1]
        path = self.path(opened.number)
        if not path.exists() and self._has_newer(opened.number):
            raise RollbackError(
                "the database is older than the ledger's keys",
                where=str(path.parent),
                expected=f"the key of epoch {opened.number}",
                actual="the key of a later one",
                hint="Find out who put an older database back. This ledger cannot go "
                "on from there: keep everything as evidence.",
            )
        key = load_key(path)
        if key.public_key().public_bytes_raw() != parse_vkey(opened.vkey).public:
            raise SignatureError(
                "this key does not belong to this ledger",
                where=str(path),
                hint="Restore the key file that belongs to this database.",
            )
        self._loaded = (opened, key)
        return key

    def create(self, epoch: int) -> Ed25519PrivateKey:
        """Write a new key for ``epoch`` durably; one left from a crash is thrown away.

        The caller MUST hold the ledger's write transaction, and ``epoch`` MUST be
        the next one.

        Raises:
            StorageFaultError: The disk refused.
        """
        self._unlink(epoch)
        return create_key(self.path(epoch))

    def destroy(self, epoch: int) -> None:
        """Unlink the key of a closed epoch; its name is gone durably afterwards.

        Raises:
            StorageFaultError: The disk refused.
        """
        self._unlink(epoch)

    def _unlink(self, epoch: int) -> None:
        path = self.path(epoch)
        try:
            # One that was being written when a process died may be this very key.
            for partial in path.parent.glob(f"{path.name}.*.partial"):
                partial.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise StorageFaultError(
                "a key of the ledger that must go cannot be removed",
                where=str(path),
                actual=str(error.strerror),
                hint="Nothing is signed with it any more; find out what keeps it.",
            ) from error

    def _has_newer(self, epoch: int) -> bool:
        names = self._first.parent.glob(f"{self._first.stem}.*{self._first.suffix}")
        numbers = (path.name.split(".")[-2] for path in names)
        return any(n.isdecimal() and int(n) > epoch for n in numbers)


def create_key(path: Path) -> Ed25519PrivateKey:
    """Write a new private key, readable by its owner alone, and return it.

    Raises:
        ConflictError: A file of that name is there.
        StorageFaultError: The disk refused.
    """
    signer = Ed25519PrivateKey.generate()
    pem = signer.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private_file(path, pem)
    return signer


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in ``path``.

    Raises:
        HostNotReadyError: It is missing, readable by others, or no Ed25519 key.
    """
    pem = read_private_file(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise HostNotReadyError("not a private key", where=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise HostNotReadyError("not an Ed25519 key", where=str(path))
    return key
