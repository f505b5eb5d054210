"""Whose a key is: names that are refused, and where a name is shown."""

from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from bundler.errors import RootRuleError
from bundler.roots.change import AddKeys
from bundler.roots.first import unsigned_first_root
from bundler.roots.rules import check_root_rules
from bundler.roots.standing import root_standings, standings_lines
from bundler.roots.words import change_lines, changes_between, role_lines
from bundler.signing.holder import HOLDER_FIELD, MAX_HOLDER_CHARS, holder_in, holder_of
from bundler.signing.keys import create_key, load_public_keys, load_signers
from bundler.signing.passphrase import Passphrases
from tests.bundler.conftest import PASSPHRASE, Desk
from tests.support.publisher import new_keys
from tests.support.root_folder import change, new_root_folder, plan_of, subject_of

UNLOCK = ("--passphrase-file", "pw")
ASKED = Passphrases(file=None, ask=lambda _: PASSPHRASE)
NOBODY = Passphrases(file=None, ask=None)
NO_NAMES = [
    " Anna",
    "Anna\nrelease",
    "Anna\x1b[2J",
    "Anna\u202egrebB",
    "Ang\u0065\u0301le",
    "A" * (MAX_HOLDER_CHARS + 1),
    " ",
]


@pytest.fixture(scope="module")
def annas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stem of a key whose file names its holder."""
    stem = tmp_path_factory.mktemp("annas") / "anna"
    create_key(stem, ASKED, kind="hybrid", holder="Anna Berg, Zürich")
    return stem


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_could_deceive_a_reader_is_refused(desk: Desk, name: str) -> None:
    error = desk.refuses(
        "keygen", "mine", "--holder", name, *UNLOCK, code="usage", status=2
    )
    assert error["where"] == "--holder"


@pytest.mark.parametrize("name", [*NO_NAMES, "", 7, ["Anna"]])
def test_a_root_whose_keys_have_such_names_is_not_signed(name: object) -> None:
    root = (
        Metadata[Root]
        .from_bytes(unsigned_first_root(plan_of(new_keys(), signing=(0,), threshold=1)))
        .signed
    )
    next(iter(root.keys.values())).unrecognized_fields[HOLDER_FIELD] = name
    with pytest.raises(RootRuleError, match="no name that can be shown"):
        check_root_rules(root)
    assert all(holder_of(key) == "" for key in root.keys.values())


@pytest.mark.parametrize("name", NO_NAMES[1:])
def test_what_stands_in_a_key_file_and_is_no_name_is_not_read(name: str) -> None:
    assert holder_in(f"Holder: {name}\n-----BEGIN ".encode()) in {"", "Anna"}


def test_a_name_after_the_first_block_is_not_read(annas: Path) -> None:
    key = annas.with_suffix(".pub").read_bytes().partition(b"\n")[2]
    assert holder_in(key + b"Holder: Mallory\n") == ""


def test_keygen_writes_the_holder_into_both_files(desk: Desk) -> None:
    value = desk.does("keygen", "mine", "--holder", "Anna Berg", *UNLOCK)
    assert value["holder"] == "Anna Berg"
    for ending in ("key", "pub"):
        assert (
            (desk.folder / f"mine.{ending}")
            .read_bytes()
            .startswith(b"Holder: Anna Berg\n-----BEGIN ")
        )


def test_both_keys_of_a_holder_carry_the_name(annas: Path) -> None:
    public = load_public_keys(annas.with_suffix(".pub"), NOBODY)
    signers = load_signers(annas.with_suffix(".key"), ASKED)
    keys = [*public, *(signer.public_key for signer in signers)]
    assert [holder_of(key) for key in keys] == ["Anna Berg, Zürich"] * 4


def test_a_name_does_not_change_a_key_s_id(annas: Path, tmp_path: Path) -> None:
    path = annas.with_suffix(".pub")
    bare = tmp_path / "bare.pub"
    bare.write_bytes(path.read_bytes().partition(b"\n")[2])
    named, unnamed = load_public_keys(path, NOBODY), load_public_keys(bare, NOBODY)
    assert [key.keyid for key in named] == [key.keyid for key in unnamed]


def test_who_has_still_to_sign_is_called_by_name(tmp_path: Path) -> None:
    stem = tmp_path / "anna"
    create_key(stem, ASKED, holder="Anna Berg")
    (anna,) = load_public_keys(stem.with_suffix(".pub"), NOBODY)
    plan = plan_of(new_keys(), signing=(0,), threshold=1)
    folder = new_root_folder(tmp_path / "root", plan)
    before = Metadata[Root].from_bytes((folder / "1.root.json").read_bytes()).signed
    change(folder, AddKeys(role="root", keys=(anna,)))
    pending = subject_of(folder).metadata
    assert isinstance(pending.signed, Root)
    beside = f"{anna.keyid}  (ed25519)  Anna Berg"
    assert f"root gains  {beside}" in change_lines(
        changes_between(before, pending.signed)
    )
    assert f"  {beside}" in role_lines(pending.signed)
    standings = root_standings(pending, before=before)
    assert f"  open    {beside}" in standings_lines(standings)
