"""What a room refuses to sign, and what comes out of it: the two carried files."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root

from bundleformat.digest import Sha256
from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    LimitExceededError,
    MalformedError,
    SignatureError,
)
from bundleformat.trust import (
    CHANNEL_FIELD,
    COMPLIANCE_FIELD,
    fingerprint,
    grouped,
)
from bundler.errors import RootRuleError
from bundler.rooms.files import (
    MAX_REQUEST_BYTES,
    MAX_SIGNATURE_FILE_BYTES,
    MAX_SIGNATURES,
    KeySignature,
    SigningRequest,
    encode_request,
    encode_signatures,
    parse_request,
    parse_signatures,
)
from bundler.rooms.subject import (
    check_own_record,
    open_subject,
    request_for,
)
from bundler.rooms.view import subject_lines, subject_value
from bundler.roots.change import Renew
from bundler.roots.first import first_root
from bundler.roots.folder import read_root_folder
from bundler.roots.rules import TUF_ROLES, HolderRole
from bundler.signing_flow import read_subject, request_of
from tests.support.publisher import ROOT_EXPIRES, Keys, new_keys
from tests.support.root_folder import (
    change,
    new_root_folder,
    plan_of,
    root_holders,
    sign,
    signed_by,
    subject_of,
)

LATER = ROOT_EXPIRES + dt.timedelta(days=400)
ROGUE = CryptoSigner.generate_ed25519()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return new_keys(roots=3)


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    """A root folder with a 2-of-3 root, and a renewal that waits."""
    made = new_root_folder(
        tmp_path / "root", plan_of(keys, signing=(0, 1), threshold=2)
    )
    change(made, Renew(expires=LATER))
    return made


def altered_request(
    folder: Path, edit: Callable[[Metadata[Root]], object]
) -> SigningRequest:
    request = request_of(folder)
    metadata = Metadata[Root].from_bytes(request.metadata)
    edit(metadata)
    return request_for("root", metadata.to_bytes(), roots=request.roots, manifest=None)


def test_a_room_refuses_bytes_that_are_not_those_it_is_shown(folder: Path) -> None:
    request = replace(request_of(folder), payload_sha256=Sha256("0" * 64))
    with pytest.raises(DigestMismatchError) as caught:
        open_subject(request)
    assert caught.value.where == "payload_sha256"


def test_a_room_refuses_a_root_that_does_not_come_next(folder: Path) -> None:
    def skip(metadata: Metadata[Root]) -> None:
        metadata.signed.version = 4

    with pytest.raises(ConflictError) as caught:
        open_subject(altered_request(folder, skip))
    assert (caught.value.expected, caught.value.actual) == ("2", "4")


def test_a_room_refuses_a_root_of_another_channel(folder: Path) -> None:
    def move(metadata: Metadata[Root]) -> None:
        metadata.signed.unrecognized_fields[CHANNEL_FIELD] = "pilot"

    with pytest.raises(ConflictError) as caught:
        open_subject(altered_request(folder, move))
    assert (caught.value.expected, caught.value.actual) == ("main", "pilot")


def test_a_room_refuses_a_root_that_breaks_a_rule(folder: Path) -> None:
    def split_bundler(metadata: Metadata[Root]) -> None:
        metadata.signed.add_key(ROGUE.public_key, "timestamp")

    with pytest.raises(RootRuleError) as caught:
        open_subject(altered_request(folder, split_bundler))
    assert caught.value.where == "bundler"


def test_a_room_refuses_roots_that_do_not_follow_from_one_another(
    folder: Path, keys: Keys
) -> None:
    sign(folder, *root_holders(keys)[:2])
    change(folder, Renew(expires=LATER + dt.timedelta(days=1)))
    request = request_of(folder)
    other = first_root(plan_of(new_keys(roots=3), signing=(0, 1), threshold=2))
    with pytest.raises(SignatureError) as caught:
        open_subject(replace(request, roots=(other, request.roots[1])))
    assert caught.value.where == "root 2"
    with pytest.raises(MalformedError):
        open_subject(replace(request, roots=request.roots[::-1]))


def test_a_holder_compares_with_their_own_record(folder: Path) -> None:
    other = first_root(plan_of(new_keys(), signing=(0,), threshold=1))
    with pytest.raises(SignatureError) as caught:
        check_own_record(subject_of(folder), other)
    assert caught.value.where == "--root"
    check_own_record(subject_of(folder), read_root_folder(folder)[0])


def test_every_field_that_a_root_changes_is_shown(folder: Path) -> None:
    def add_field(metadata: Metadata[Root]) -> None:
        metadata.signed.unrecognized_fields["x-more"] = 1
        metadata.signed.roles["targets"].unrecognized_fields["y"] = 1

    subject = open_subject(altered_request(folder, add_field))
    changes = subject_value(subject)["changes"]
    assert changes["other"] == ["roles.targets", "x-more"]


def test_a_room_refuses_another_key_under_a_known_id(folder: Path, keys: Keys) -> None:
    key_id = keys.release.public_key.keyid

    def swap(metadata: Metadata[Root]) -> None:
        public = ROGUE.public_key.keyval["public"]
        metadata.signed.keys[key_id].keyval["public"] = public

    with pytest.raises(RootRuleError) as caught:
        open_subject(altered_request(folder, swap))
    assert (caught.value.where, caught.value.actual) == ("release", key_id)
    assert caught.value.expected == ROGUE.public_key.keyid


@pytest.mark.parametrize("role", ["root", "release", "compliance"])
def test_a_room_refuses_a_new_key_under_the_id_of_somebody_expected(
    folder: Path, role: HolderRole
) -> None:
    expected = CryptoSigner.generate_ed25519().public_key.keyid
    rogue = SSlibKey(
        expected, "ed25519", "ed25519", dict(ROGUE.public_key.keyval), None
    )

    def add(metadata: Metadata[Root]) -> None:
        for tuf_role in TUF_ROLES[role]:
            metadata.signed.add_key(rogue, tuf_role)
        if role == "compliance":
            held = metadata.signed.unrecognized_fields[COMPLIANCE_FIELD]
            held[expected] = rogue.to_dict()

    with pytest.raises(RootRuleError) as caught:
        open_subject(altered_request(folder, add))
    assert (caught.value.where, caught.value.actual) == (role, expected)


def test_a_room_refuses_a_root_key_that_holds_another_role_in_another_spelling(
    folder: Path, keys: Keys
) -> None:
    public = keys.root[0].public_key.keyval["public"].upper()
    again = SSlibKey("ab" * 32, "ed25519", "ed25519", {"public": public}, None)

    def add(metadata: Metadata[Root]) -> None:
        metadata.signed.add_key(again, "targets")

    with pytest.raises(RootRuleError) as caught:
        open_subject(altered_request(folder, add))
    assert caught.value.where == "release"


def test_a_room_is_told_which_roots_a_request_follows_from(folder: Path) -> None:
    subject = subject_of(folder)
    (first,) = read_root_folder(folder)
    assert subject_value(subject)["roots"] == [fingerprint(first)]
    assert f"  {grouped(fingerprint(first))}" in subject_lines(subject)


def test_what_a_first_root_says_beyond_its_form_is_named(keys: Keys) -> None:
    root = Metadata[Root].from_bytes(
        first_root(plan_of(keys, signing=(0,), threshold=1))
    )
    plain = request_for("root", root.to_bytes(), roots=(), manifest=None)
    assert subject_value(open_subject(plain))["changes"]["other"] == []
    root.signed.unrecognized_fields["x-more"] = 1
    root.signed.keys["cd" * 32] = ROGUE.public_key
    more = request_for("root", root.to_bytes(), roots=(), manifest=None)
    changes = subject_value(open_subject(more))["changes"]
    assert changes["other"] == ["unused keys", "x-more"]


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (lambda data: data[:-1], ""),
        (lambda data: data + b"\n", ""),
        (lambda data: data.replace(b'"format":1', b'"format":2'), "format"),
        (lambda data: data.replace(b'"role":"root"', b'"role":"snapshot"'), "role"),
        (lambda data: data.replace(b'"roots"', b'"rootz"'), "roots"),
        (lambda data: data.replace(b'"type":"sig', b'"type":"zig'), "type"),
        (lambda data: data.replace(b'"metadata":"{', b'"metadata":[],"n":"{'), ""),
    ],
)
def test_a_request_that_breaks_its_format_is_refused(
    folder: Path, tmp_path: Path, edit: Callable[[bytes], bytes], where: str
) -> None:
    data = encode_request(request_of(folder))
    path = tmp_path / "request.json"
    path.write_bytes(edit(data))
    assert edit(data) != data
    with pytest.raises((MalformedError, LimitExceededError)) as caught:
        read_subject(path)
    assert caught.value.where.startswith(str(path))
    assert where in caught.value.where


def test_carried_files_have_limits(folder: Path, tmp_path: Path, keys: Keys) -> None:
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(MAX_REQUEST_BYTES + 1)
    with pytest.raises(LimitExceededError):
        read_subject(big)
    with pytest.raises(LimitExceededError):
        parse_signatures(b" " * (MAX_SIGNATURE_FILE_BYTES + 1))
    _, file_ = signed_by(folder, (keys.root[0],))
    many = tuple(
        KeySignature(key_id=f"{i:064x}", signature="00")
        for i in range(MAX_SIGNATURES + 1)
    )
    with pytest.raises(LimitExceededError):
        parse_signatures(encode_signatures(replace(file_, signatures=many)))
    with pytest.raises(LimitExceededError):
        encode_request(replace(request_of(folder), roots=(b"x" * 400_000,) * 100))


def test_a_signature_file_that_breaks_its_format_is_refused(
    folder: Path, keys: Keys
) -> None:
    _, file = signed_by(folder, (keys.root[0],))
    data = encode_signatures(file)
    twice = replace(file, signatures=file.signatures * 2)
    for bad in (
        encode_signatures(twice),
        encode_signatures(replace(file, signatures=())),
        encode_request(request_of(folder)),
        data.replace(b'"sig":"', b'"sig":"Z'),
        data.replace(b'"version":2', b'"version":0'),
        data.replace(b'{"format":1', b'{"a":1,"format":1'),
    ):
        with pytest.raises(MalformedError):
            parse_signatures(bad)


def test_files_for_rooms_have_one_encoding(folder: Path, keys: Keys) -> None:
    request = request_of(folder)
    assert parse_request(encode_request(request)) == request
    _, file = signed_by(folder, (keys.root[0],))
    assert parse_signatures(encode_signatures(file)) == file
