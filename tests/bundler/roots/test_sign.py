"""Signing roots here and in rooms: refusals first, then what is in force."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from bundleformat.errors import (
    ConflictError,
    Error,
    ExpiredError,
    MissingError,
    SignatureError,
)
from bundleformat.trust import check_root
from bundler.errors import KeyFileError
from bundler.rooms.files import (
    KeySignature,
    encode_request,
)
from bundler.rooms.signatures import sign_subject
from bundler.rooms.subject import (
    check_signable,
)
from bundler.rooms.view import subject_lines
from bundler.root_change_flow import read_pending
from bundler.roots.change import AddKeys, RemoveKeys, Renew, SetThreshold
from bundler.roots.first import unsigned_first_root
from bundler.roots.folder import read_root_folder
from bundler.signing_flow import attach, read_subject, request_of, sign_in_place
from tests.support.publisher import NOW, ROOT_EXPIRES, Keys, new_keys
from tests.support.root_folder import (
    change,
    files_of,
    new_root_folder,
    plan_of,
    publics,
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


def refused(folder: Path, act: Callable[[], object], *, kind: type[Error]) -> Error:
    before = files_of(folder)
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert files_of(folder) == before
    return caught.value


@pytest.mark.parametrize("role", ["release", "bundler", "compliance"])
def test_a_key_of_another_role_signs_no_root(
    folder: Path, keys: Keys, role: str
) -> None:
    error = refused(
        folder, lambda: sign(folder, (getattr(keys, role),)), kind=KeyFileError
    )
    assert error.where == "root 2"


def test_a_signature_by_a_key_that_may_not_sign_is_refused(
    folder: Path, keys: Keys
) -> None:
    where, file = signed_by(folder, (keys.root[0],))
    made = ROGUE.sign(subject_of(folder).payload)
    forged = replace(
        file, signatures=(KeySignature(key_id=made.keyid, signature=made.signature),)
    )
    error = refused(
        folder, lambda: attach(folder, [(where, forged)], now=NOW), kind=SignatureError
    )
    assert (error.where, error.actual) == ("room.json", made.keyid)


def test_one_bad_signature_keeps_out_the_good_ones_beside_it(
    folder: Path, keys: Keys
) -> None:
    good = signed_by(folder, (keys.root[0],))
    _, file = signed_by(folder, (keys.root[1],))
    (one,) = file.signatures
    last = "0" if one.signature[-1] != "0" else "1"
    bad = replace(file, signatures=(replace(one, signature=one.signature[:-1] + last),))
    error = refused(
        folder,
        lambda: attach(folder, [good, ("bad.json", bad)], now=NOW),
        kind=SignatureError,
    )
    assert (error.where, error.actual) == ("bad.json", one.key_id)


def test_a_signature_over_what_was_pending_before_is_refused(
    folder: Path, keys: Keys
) -> None:
    stale = signed_by(folder, (keys.root[0],))
    change(folder, SetThreshold(role="root", holders=3))
    error = refused(
        folder, lambda: attach(folder, [stale], now=NOW), kind=ConflictError
    )
    assert error.where == "room.json"
    assert stale[1].payload_sha256 in error.actual


def test_what_changed_after_it_was_shown_is_not_signed(
    folder: Path, keys: Keys
) -> None:
    shown = subject_of(folder)
    change(folder, SetThreshold(role="root", holders=1))
    refused(
        folder,
        lambda: sign_in_place(folder, shown, [keys.root[0]], now=NOW),
        kind=ConflictError,
    )


def test_signing_without_a_pending_root_is_refused(tmp_path: Path, keys: Keys) -> None:
    folder = new_root_folder(
        tmp_path / "root", plan_of(keys, signing=(0, 1), threshold=2)
    )
    refused(folder, lambda: request_of(folder), kind=MissingError)
    with pytest.raises(MissingError):
        request_of(tmp_path / "none")
    with pytest.raises(MissingError):
        attach(tmp_path, [], now=NOW)


def test_an_expired_pending_root_is_neither_signed_nor_attached(
    folder: Path, keys: Keys
) -> None:
    file = signed_by(folder, (keys.root[0],))
    late = LATER + dt.timedelta(days=1)
    error = refused(folder, lambda: attach(folder, [file], now=late), kind=ExpiredError)
    assert error.where == "root 2"
    with pytest.raises(ExpiredError):
        check_signable(subject_of(folder), now=late)


def test_one_old_and_one_new_signature_do_not_make_a_root(
    folder: Path, keys: Keys
) -> None:
    new = CryptoSigner.generate_ed25519()
    change(
        folder,
        AddKeys(role="root", keys=(new.public_key,)),
        RemoveKeys(role="root", key_ids=(keys.root[2].public_key.keyid,)),
    )
    # By the new root's count this is enough: one kept holder and the new one.
    done = sign(folder, (keys.root[0],), (new,))
    assert [one.complete for one in done.subject.standings] == [False, True]
    assert (done.in_force, done.complete) == (None, False)
    assert len(read_root_folder(folder)) == 1
    done = sign(folder, (keys.root[1],))
    assert done.in_force == folder / "2.root.json"


def test_a_removed_holder_alone_cannot_complete_the_new_rule(
    folder: Path, keys: Keys
) -> None:
    new = [CryptoSigner.generate_ed25519() for _ in range(2)]
    old = tuple(signer.public_key.keyid for signer in keys.root[:2])
    change(
        folder,
        *(AddKeys(role="root", keys=(one.public_key,)) for one in new),
        RemoveKeys(role="root", key_ids=old),
    )
    done = sign(folder, (keys.root[0],), (keys.root[1],))
    assert [one.complete for one in done.subject.standings] == [True, False]
    assert done.in_force is None
    done = sign(folder, (new[0],), (new[1],))
    assert done.in_force is not None


def test_a_late_signature_changes_no_root_in_force(folder: Path, keys: Keys) -> None:
    late = signed_by(folder, (keys.root[2],))
    sign(folder, *root_holders(keys)[:2])
    error = refused(folder, lambda: attach(folder, [late], now=NOW), kind=ConflictError)
    assert error.actual == keys.root[2].public_key.keyid


def test_two_of_three_holders_suffice_and_the_root_is_in_force(
    folder: Path, keys: Keys
) -> None:
    done = sign(folder, (keys.root[0],))
    (old, new) = done.subject.standings
    assert (old.root_version, new.root_version) == (1, 2)
    assert [one.holders for one in (old, new)] == [2, 2]
    assert [key.key_id for key in old.keys if key.signed] == [
        keys.root[0].public_key.keyid
    ]
    done = sign(folder, (keys.root[2],))
    assert done.in_force == folder / "2.root.json"
    assert sorted(files_of(folder)) == ["1.root.json", "2.root.json"]
    facts = check_root((folder / "2.root.json").read_bytes(), now=NOW)
    assert (facts.version, facts.expires) == (2, LATER)
    assert read_pending(folder) is None


def test_attaching_twice_changes_nothing(folder: Path, keys: Keys) -> None:
    file = signed_by(folder, (keys.root[0],))
    assert attach(folder, [file], now=NOW).added == (keys.root[0].public_key.keyid,)
    before = files_of(folder)
    again = attach(folder, [file, file], now=NOW)
    assert (again.added, again.known) == ((), (keys.root[0].public_key.keyid,))
    assert files_of(folder) == before
    sign(folder, (keys.root[1],))
    before = files_of(folder)
    assert attach(folder, [file], now=NOW).in_force == folder / "2.root.json"
    assert files_of(folder) == before


def test_what_is_signed_in_a_room_is_what_is_published(
    folder: Path, keys: Keys, tmp_path: Path
) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(encode_request(request_of(folder)))
    subject = read_subject(path)
    files = [
        ("a", sign_subject(subject, [keys.root[1]])),
        ("b", sign_subject(subject, [keys.root[2]])),
    ]
    attach(folder, files, now=NOW)
    published = Metadata[Root].from_bytes((folder / "2.root.json").read_bytes())
    assert published.signed_bytes == subject.payload


def test_root_keys_are_replaced_one_at_a_time(folder: Path, keys: Keys) -> None:
    holders = [*root_holders(keys)]
    sign(folder, *holders[:2])
    for version in range(3, 6):
        new = (CryptoSigner.generate_ed25519(),)
        gone = holders.pop(0)
        change(
            folder,
            AddKeys(role="root", keys=publics(new)),
            RemoveKeys(role="root", key_ids=(gone[0].public_key.keyid,)),
        )
        holders.append(new)
        done = sign(folder, *holders[:2])
        assert done.in_force == folder / f"{version}.root.json"
    newest = check_root((folder / "5.root.json").read_bytes(), now=NOW)
    assert set(newest.root_keys) == {one[0].public_key.keyid for one in holders}
    assert set(newest.root_keys).isdisjoint(s.public_key.keyid for s in keys.root)


def test_a_first_root_is_signed_by_holders_in_their_own_rooms(
    tmp_path: Path, keys: Keys
) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    plan = plan_of(keys, signing=(), threshold=2)
    (folder / "1.root.pending.json").write_bytes(unsigned_first_root(plan))
    subject = subject_of(folder)
    assert (subject.root, subject.roots) == (None, ())
    assert any("first root" in line for line in subject_lines(subject))
    assert sign(folder, (keys.root[0],)).in_force is None
    assert sign(folder, (keys.root[1],)).in_force == folder / "1.root.json"
    assert sorted(files_of(folder)) == ["1.root.json"]


def test_in_a_hybrid_channel_both_kinds_of_each_holder_are_asked_for(
    tmp_path: Path,
) -> None:
    keys = new_keys(roots=2, kind="hybrid")
    folder = new_root_folder(
        tmp_path / "root",
        plan_of(keys, signing=(0, 1), threshold=1, profile="hybrid"),
    )
    change(folder, Renew(expires=LATER))
    classical = tuple((signer,) for signer in keys.root)
    done = sign(folder, *classical)
    # Two signatures reach TUF's threshold of two, and yet nothing is in force.
    (old, _) = done.subject.standings
    assert (old.threshold, old.holders, old.complete) == (2, 1, False)
    assert dict(old.wanted()) == {"classical": 0, "ml-dsa": 1}
    assert done.in_force is None
    done = sign(folder, root_holders(keys)[0])
    assert done.in_force == folder / "2.root.json"
