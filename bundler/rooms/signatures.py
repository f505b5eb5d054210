"""Makes signatures over a subject, and takes in those that others made.

Pure. Each signature is verified over the exact bytes before it is taken in; one
that does not belong there is refused together with everything else it came with.

Source: TUF specification 1.0, section 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from bundleformat.digest import Sha256
from bundleformat.errors import ConflictError, SignatureError
from bundler.errors import KeyFileError
from bundler.rooms.files import KeySignature, SignatureFile
from bundler.rooms.subject import Subject
from bundler.roots.standing import may_sign


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """Metadata with more signatures.

    Attributes:
        metadata: Its bytes.
        added: Ids of the keys whose signatures are new.
        known: Ids of those that were there already.
    """

    metadata: bytes
    added: tuple[str, ...]
    known: tuple[str, ...]


def sign_subject(subject: Subject, signers: Sequence[Signer]) -> SignatureFile:
    """Return the signatures of those of ``signers`` that may sign.

    Raises:
        KeyFileError: None of them may, or a token does not sign.
    """
    allowed = may_sign(subject.standings)
    chosen = [signer for signer in signers if signer.public_key.keyid in allowed]
    if not chosen:
        raise KeyFileError(
            "this key may not sign this",
            where=f"{subject.role} {subject.version}",
            expected=" or ".join(sorted(allowed)),
            actual=", ".join(signer.public_key.keyid for signer in signers),
            hint="Name the key of a holder whose signature is asked for.",
        )
    made = [signer.sign(subject.payload) for signer in chosen]
    return SignatureFile(
        role=subject.role,
        version=subject.version,
        payload_sha256=Sha256(subject.payload_sha256),
        signatures=tuple(
            KeySignature(key_id=one.keyid, signature=one.signature)
            for one in sorted(made, key=lambda one: one.keyid)
        ),
    )


def merge_signatures(
    subject: Subject, files: Sequence[tuple[str, SignatureFile]]
) -> Merged:
    """Return the subject's metadata with the signatures of all files.

    A valid signature that is there already stays as it is, so attaching a file
    twice changes nothing. ``files`` come with the names that errors call them.

    Raises:
        ConflictError: A file was made over something else.
        SignatureError: A key that may not sign, or a signature that is not its.
    """
    signed = {key.key_id for one in subject.standings for key in one.keys if key.signed}
    found: dict[str, Signature] = {}
    for where, file in files:
        _check_same_payload(subject, file, where=where)
        for one in file.signatures:
            signature = Signature(one.key_id, one.signature)
            _check_signature(subject, signature, where=where)
            found.setdefault(one.key_id, signature)
    added = tuple(sorted(found.keys() - signed))
    for key_id in added:
        subject.metadata.signatures[key_id] = found[key_id]
    return Merged(
        metadata=subject.metadata.to_bytes(),
        added=added,
        known=tuple(sorted(found.keys() & signed)),
    )


def _check_same_payload(subject: Subject, file: SignatureFile, *, where: str) -> None:
    if (file.role, file.payload_sha256) == (subject.role, subject.payload_sha256):
        return
    raise ConflictError(
        "these signatures were made over something else",
        where=where,
        expected=f"{subject.role} {subject.version}, sha256 {subject.payload_sha256}",
        actual=f"{file.role} {file.version}, sha256 {file.payload_sha256}",
        hint="It may have changed since it was exported: write a new request with "
        "`sign --export`, and have that signed.",
    )


def _check_signature(subject: Subject, signature: Signature, *, where: str) -> None:
    key = _key(subject, signature.keyid)
    if key is None:
        raise SignatureError(
            "the key may not sign this",
            where=where,
            expected=" or ".join(sorted(may_sign(subject.standings))),
            actual=signature.keyid,
        )
    try:
        key.verify_signature(signature, subject.payload)
    except UnverifiedSignatureError as error:
        raise SignatureError(
            "not this key's signature of these bytes",
            where=where,
            actual=signature.keyid,
            hint="The file is damaged, or not what the room wrote; have it signed "
            "again.",
        ) from error


def _key(subject: Subject, key_id: str) -> Key | None:
    if key_id not in may_sign(subject.standings):
        return None
    own = subject.metadata.signed if subject.role == "root" else None
    for root in (subject.root, own):
        if root is not None and key_id in root.keys:
            key: Key = root.keys[key_id]
            return key
    return None
