"""Changing a root: what is refused first, then what waits for signatures."""

import datetime as dt
import fcntl
import os
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from bundleformat.errors import (
    ConflictError,
    Error,
    MalformedError,
    MissingError,
    SignatureError,
    UsageError,
)
from bundleformat.trust import check_root
from bundler.errors import RootRuleError
from bundler.root_change_flow import cancel_change, read_pending
from bundler.roots.change import AddKeys, Change, RemoveKeys, Renew, SetThreshold
from bundler.roots.first import first_root, unsigned_first_root
from bundler.roots.folder import read_root_folder
from bundler.roots.rules import keys_of
from tests.support.publisher import NOW, ROOT_EXPIRES, Keys, new_keys, new_ml_dsa
from tests.support.root_folder import (
    change,
    files_of,
    new_root_folder,
    plan_of,
    publics,
    root_holders,
    sign,
)

LATER = ROOT_EXPIRES + dt.timedelta(days=400)
NEW = CryptoSigner.generate_ed25519()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return new_keys(roots=3)


@pytest.fixture
def folder(tmp_path: Path, keys: Keys) -> Path:
    """A root folder with a 2-of-3 root."""
    return new_root_folder(
        tmp_path / "root", plan_of(keys, signing=(0, 1), threshold=2)
    )


def refused(folder: Path, *changes: Change, kind: type[Error]) -> Error:
    before = files_of(folder)
    with pytest.raises(kind) as caught:
        change(folder, *changes)
    assert type(caught.value) is kind
    assert files_of(folder) == before
    return caught.value


@pytest.mark.parametrize("role", ["release", "bundler", "compliance"])
def test_a_root_key_gets_no_other_role(folder: Path, keys: Keys, role: str) -> None:
    key = keys.root[2].public_key
    error = refused(
        folder,
        AddKeys(role=role, keys=(key,)),  # type: ignore[arg-type]
        kind=RootRuleError,
    )
    assert (error.code, error.where, error.actual) == ("root-rule", role, key.keyid)


@pytest.mark.parametrize("role", ["release", "bundler", "compliance"])
def test_a_key_of_another_role_becomes_no_root_key(
    folder: Path, keys: Keys, role: str
) -> None:
    key = getattr(keys, role).public_key
    error = refused(folder, AddKeys(role="root", keys=(key,)), kind=RootRuleError)
    assert (error.where, error.actual) == (role, key.keyid)


@pytest.mark.parametrize("role", ["release", "bundler", "compliance"])
def test_the_last_key_of_a_role_stays(folder: Path, keys: Keys, role: str) -> None:
    key_id = getattr(keys, role).public_key.keyid
    error = refused(
        folder,
        RemoveKeys(role=role, key_ids=(key_id,)),  # type: ignore[arg-type]
        kind=RootRuleError,
    )
    assert error.where == role


def test_a_root_never_asks_for_more_holders_than_it_names(
    folder: Path, keys: Keys
) -> None:
    ids = tuple(signer.public_key.keyid for signer in keys.root[:2])
    refused(folder, RemoveKeys(role="root", key_ids=ids), kind=RootRuleError)
    refused(folder, SetThreshold(role="root", holders=4), kind=RootRuleError)
    error = refused(
        folder, SetThreshold(role="compliance", holders=1), kind=RootRuleError
    )
    assert error.where == "compliance"


def test_a_change_that_changes_nothing_is_refused(folder: Path, keys: Keys) -> None:
    for nothing in (
        Renew(expires=ROOT_EXPIRES),
        SetThreshold(role="root", holders=2),
        AddKeys(role="release", keys=(keys.release.public_key,)),
    ):
        refused(folder, nothing, kind=ConflictError)


def test_removing_a_key_that_holds_no_such_role_is_refused(
    folder: Path, keys: Keys
) -> None:
    key_id = keys.bundler.public_key.keyid
    error = refused(
        folder, RemoveKeys(role="release", key_ids=(key_id,)), kind=MissingError
    )
    assert (error.where, error.actual) == ("release", key_id)


def test_one_unfit_change_undoes_the_others_of_its_command(
    folder: Path, keys: Keys
) -> None:
    refused(
        folder,
        AddKeys(role="release", keys=(NEW.public_key,)),
        AddKeys(role="release", keys=(keys.root[0].public_key,)),
        kind=RootRuleError,
    )


def test_a_folder_without_a_root_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, Renew(expires=LATER), kind=MissingError)
    with pytest.raises(MissingError):
        change(tmp_path / "none", Renew(expires=LATER))


def test_an_altered_root_is_not_built_upon(folder: Path) -> None:
    path = folder / "1.root.json"
    path.write_bytes(path.read_bytes().replace(b'"2029', b'"2039'))
    error = refused(folder, Renew(expires=LATER), kind=SignatureError)
    assert error.where == "root 1"


def test_a_pending_file_that_says_another_version_is_refused(folder: Path) -> None:
    pending = change(folder, Renew(expires=LATER)).path
    data = pending.read_bytes()
    pending.write_bytes(data.replace(b'"version":2', b'"version":7'))
    assert pending.read_bytes() != data
    refused(folder, SetThreshold(role="root", holders=1), kind=MalformedError)


def test_two_commands_never_change_a_folder_at_once(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused(folder, Renew(expires=LATER), kind=ConflictError)
    finally:
        os.close(descriptor)
    change(folder, Renew(expires=LATER))


def test_cancelling_without_a_change_is_refused(folder: Path) -> None:
    with pytest.raises(MissingError):
        cancel_change(folder)


@pytest.mark.parametrize(
    ("threshold", "release_threshold", "where"),
    [(0, 1, "--threshold"), (4, 1, "--threshold"), (2, 2, "--release-threshold")],
)
def test_a_first_root_asks_for_as_many_holders_as_there_are(
    keys: Keys, threshold: int, release_threshold: int, where: str
) -> None:
    plan = plan_of(
        keys,
        signing=(0, 1, 2),
        threshold=threshold,
        release_threshold=release_threshold,
    )
    with pytest.raises(UsageError) as caught:
        first_root(plan)
    assert caught.value.where == where


def test_a_first_root_wants_enough_signatures_or_waits_for_them(keys: Keys) -> None:
    plan = plan_of(keys, signing=(0,), threshold=2)
    with pytest.raises(UsageError) as caught:
        first_root(plan)
    assert caught.value.where == "--threshold"
    with pytest.raises(SignatureError):
        check_root(unsigned_first_root(plan), now=NOW)


def test_changes_add_up_in_one_pending_root(folder: Path, keys: Keys) -> None:
    change(folder, AddKeys(role="release", keys=(NEW.public_key,)))
    change(folder, RemoveKeys(role="release", key_ids=(keys.release.public_key.keyid,)))
    pending = change(folder, Renew(expires=LATER))
    assert pending.path == folder / "2.root.pending.json"
    assert pending.root.version == 2
    assert list(keys_of(pending.root, "release")) == [NEW.public_key.keyid]
    (role,) = pending.changes.roles
    assert (role.role, role.holders) == ("release", (1, 1))
    assert role.added == ((NEW.public_key.keyid, "(ed25519)"),)
    assert role.removed == ((keys.release.public_key.keyid, "(ed25519)"),)
    assert pending.changes.expires == ("2029-11-21T12:00:00Z", "2030-12-26T12:00:00Z")
    assert pending.changes.other == ()


def test_a_pending_root_is_no_root(folder: Path) -> None:
    before = read_root_folder(folder)
    change(folder, Renew(expires=LATER))
    assert read_root_folder(folder) == before


def test_a_change_drops_the_signatures_and_says_whose(folder: Path, keys: Keys) -> None:
    change(folder, Renew(expires=LATER))
    sign(folder, root_holders(keys)[0])
    pending = change(folder, SetThreshold(role="root", holders=3))
    assert pending.dropped == (keys.root[0].public_key.keyid,)
    assert all(not key.signed for one in pending.standings for key in one.keys)


def test_cancelling_leaves_the_roots_as_they_were(folder: Path) -> None:
    before = files_of(folder)
    change(folder, Renew(expires=LATER))
    assert cancel_change(folder) == folder / "2.root.pending.json"
    assert files_of(folder) == before
    assert read_pending(folder) is None


def test_what_a_power_cut_left_behind_is_passed_over(folder: Path, keys: Keys) -> None:
    change(folder, Renew(expires=LATER))
    leftover = (folder / "2.root.pending.json").read_bytes()
    sign(folder, *root_holders(keys)[:2])
    (folder / "2.root.pending.json").write_bytes(leftover)
    assert read_pending(folder) is None
    pending = change(folder, SetThreshold(role="root", holders=1))
    assert pending.root.version == 3
    assert sorted(files_of(folder)) == [
        "1.root.json",
        "2.root.json",
        "3.root.pending.json",
    ]


def test_a_hybrid_holder_comes_and_goes_with_both_keys(tmp_path: Path) -> None:
    keys = new_keys(roots=2, kind="hybrid")
    folder = new_root_folder(
        tmp_path / "root",
        plan_of(keys, signing=(0, 1), threshold=2, profile="hybrid"),
    )
    holder = (CryptoSigner.generate_ed25519(), new_ml_dsa())
    for half in holder:
        error = refused(
            folder, AddKeys(role="release", keys=publics((half,))), kind=RootRuleError
        )
        assert error.where == "release"
    refused(
        folder,
        AddKeys(role="release", keys=(*publics(holder), NEW.public_key)),
        kind=RootRuleError,
    )
    change(folder, AddKeys(role="release", keys=publics(holder)))
    half_id = holder[0].public_key.keyid
    refused(folder, RemoveKeys(role="release", key_ids=(half_id,)), kind=RootRuleError)
    ids = tuple(key.keyid for key in publics(holder))
    pending = change(folder, RemoveKeys(role="release", key_ids=ids))
    assert pending.changes.roles == ()


def test_a_cnsa_channel_takes_only_ml_dsa(tmp_path: Path) -> None:
    keys = new_keys(kind="ml-dsa-87")
    folder = new_root_folder(
        tmp_path / "root", plan_of(keys, signing=(0,), threshold=1, profile="cnsa")
    )
    error = refused(
        folder, AddKeys(role="release", keys=(NEW.public_key,)), kind=RootRuleError
    )
    assert error.where == "root.roles.targets"
