"""The commands of roots, rooms and drafts, as a person types them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.cli.runtime import Runtime
from bundler.signing.keys import create_key
from bundler.signing.passphrase import Passphrases
from tests.bundler.conftest import PASSPHRASE, Desk
from tests.support.publisher import NOW

Arguments = Callable[..., tuple[str, ...]]
UNLOCK = ("--passphrase-file", "pw")
ADD = ("root", "add-key", "root", "--role", "release", "--key", "new.pub")
TRUST = (
    *("trust-bundle", "--root", "root", "--version", "3", "--out", "trust"),
    *UNLOCK,
)
BOTH = ("--release-key", "release.key", "--bundler-key", "bundler.key")


@pytest.fixture(scope="session")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one more key; made once, since stretching keys is slow."""
    folder = tmp_path_factory.mktemp("spare")
    create_key(folder / "new", Passphrases(file=None, ask=lambda _: PASSPHRASE))
    return folder


@pytest.fixture
def office(with_root: Desk, spare: Path) -> Desk:
    """A desk with a root and one more key."""
    shutil.copytree(spare, with_root.folder, dirs_exist_ok=True)
    return with_root


@pytest.fixture
def pending(office: Desk) -> Desk:
    """The same, with a change that waits for its signature."""
    office.does(*ADD)
    return office


@pytest.fixture
def draft(office: Desk) -> Desk:
    """The same, with a trust-only draft."""
    office.does(*TRUST)
    return office


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("root", "add-key", "root", "--role", "boss", "--key", "new.pub"), "usage", 2),
        (("root", "add-key", "root", "--role", "release"), "usage", 2),
        ((*ADD[:-1], "none.pub"), "key-unusable", 3),
        ((*ADD[:-1], "release.pub"), "conflict", 3),
        ((*ADD[:-1], "root.pub"), "root-rule", 3),
        (("root", "add-key", "none", *ADD[3:]), "missing", 3),
        (("root", "remove-key", "root", "--role", "release"), "usage", 2),
        (
            ("root", "remove-key", "root", "--role", "release", "--key", "release.pub"),
            "root-rule",
            3,
        ),
        (
            ("root", "remove-key", "root", "--role", "release", "--key-id", "00"),
            "missing",
            3,
        ),
        (
            ("root", "set-threshold", "root", "--role", "root", "--holders", "2"),
            "root-rule",
            3,
        ),
        (
            ("root", "set-threshold", "root", "--role", "root", "--holders", "0"),
            "usage",
            2,
        ),
        (("root", "renew", "root", "--expires", "never"), "usage", 2),
        (("root", "cancel", "root"), "missing", 3),
        (("root", "status", "none"), "missing", 3),
        (("root", "sign", "root", "--key", "root.key", *UNLOCK), "missing", 3),
        (("sign", "root"), "missing", 3),
        (("sign", "none"), "missing", 3),
        (("sign", "pw"), "malformed", 3),
        (("attach", "root"), "usage", 2),
        (("attach", "root", "none.json"), "missing", 3),
        (("attach", "root", "pw"), "malformed", 3),
        (("attach", "root", "--bundler-key", "bundler.key", *UNLOCK), "usage", 2),
        ((*TRUST, "--version", "0"), "usage", 2),
        ((*TRUST, "--out", "root"), "conflict", 3),
        ((*TRUST, "--release-key", "bundler.key"), "key-unusable", 3),
        ((*TRUST, "--source-date", "2999-01-01T00:00:00Z"), "usage", 2),
    ],
)
def test_what_cannot_be_done_leaves_everything_as_it_was(
    office: Desk, arguments: tuple[str, ...], code: str, status: int
) -> None:
    office.refuses(*arguments, code=code, status=status)


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("root", "sign", "root", "--key", "release.key", *UNLOCK), "key-unusable", 3),
        (("sign", "root", "--export", "pw"), "conflict", 3),
        (("sign", "root", "--export", "a", "--key", "root.key"), "usage", 2),
        (("sign", "root", "--key", "root.key", "--out", "a"), "usage", 2),
        (("sign", "root", "--root", "pw"), "malformed", 3),
    ],
)
def test_a_pending_root_is_signed_by_its_holders_only(
    pending: Desk, arguments: tuple[str, ...], code: str, status: int
) -> None:
    pending.refuses(*arguments, code=code, status=status)


@pytest.mark.parametrize("said", ["", "y", "no", "YES"])
def test_nothing_is_signed_unless_a_person_says_yes(pending: Desk, said: str) -> None:
    pending.does("sign", "root", "--export", "request.json")
    pending.runtime = Runtime(now=NOW, ask=None, answer=lambda _: said)
    before = pending.files()
    status, out, err = pending.run(
        *("sign", "request.json", "--key", "root.key", "--out", "s.json", *UNLOCK)
    )
    assert (status, out) == (2, "")
    # What was refused had been shown.
    assert "release gains" in err
    assert pending.files() == before


def test_nothing_is_signed_where_nobody_could_say_yes(pending: Desk) -> None:
    pending.does("sign", "root", "--export", "request.json")
    before = pending.files()
    status, _, err = pending.run(
        *("sign", "request.json", "--key", "root.key", "--out", "s.json", *UNLOCK)
    )
    assert status == 2
    assert "--yes" in err
    assert pending.files() == before


def test_a_request_needs_both_a_key_and_a_place_for_signatures(pending: Desk) -> None:
    pending.does("sign", "root", "--export", "request.json")
    for more in (("--key", "root.key"), ("--out", "s.json"), ("--export", "b.json")):
        pending.refuses("sign", "request.json", *more, code="usage", status=2)


def test_a_room_with_another_root_on_record_refuses(pending: Desk) -> None:
    pending.does(
        *("root", "init", "--channel", "main", "--root-key", "new.key"),
        *("--release-key", "release.pub", "--bundler-key", "bundler.pub"),
        *("--compliance-key", "compliance.pub", "--out", "mine", *UNLOCK),
    )
    pending.does("sign", "root", "--export", "request.json")
    pending.refuses(
        *("sign", "request.json", "--root", "mine"), code="signature-invalid"
    )
    pending.does("sign", "request.json", "--root", "root")


def test_signatures_for_another_root_are_refused(pending: Desk) -> None:
    pending.does("sign", "root", "--export", "request.json")
    pending.does(
        *("sign", "request.json", "--key", "root.key", "--out", "s.json", "--yes"),
        *UNLOCK,
    )
    pending.does("root", "renew", "root", "--expires", "400d")
    error = pending.refuses("attach", "root", "s.json", code="conflict")
    assert error["where"] == "s.json"


def test_a_root_goes_to_a_room_and_comes_back(pending: Desk) -> None:
    value = pending.does("sign", "root", "--export", "request.json")
    assert (value["role"], value["version"], value["complete"]) == ("root", 2, False)
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "yes"

    pending.runtime = Runtime(now=NOW, ask=lambda _: PASSPHRASE, answer=answer)
    status, out, err = pending.run(
        "sign", "request.json", "--key", "root.key", "--out", "s.json"
    )
    assert status == 0, err
    assert len(asked) == 1
    assert "attach" in out
    done = pending.does("attach", "root", "s.json")
    assert (done["complete"], done["in_force"]) == (True, "root/2.root.json")
    shown = pending.does("root", "show", "root")
    assert (shown["version"], shown["fingerprint"]) == (2, done["fingerprint"])
    assert len(shown["roles"]["release"]["keys"]) == 2
    # The same file once more is not an error.
    assert pending.does("attach", "root", "s.json")["added"] == []


def test_root_sign_shows_what_changes_and_says_what_is_in_force(pending: Desk) -> None:
    status, out, err = pending.run("root", "sign", "root", "--key", "root.key", *UNLOCK)
    assert status == 0
    assert "release gains" in err
    assert "root 2 is in force" in out
    value = pending.does("root", "status", "root")
    assert (value["pending"], value["current"]["version"]) == (None, 2)


def test_root_status_says_who_has_still_to_sign(office: Desk) -> None:
    value = office.does("root", "status", "root")
    assert (value["pending"], value["current"]["version"]) == (None, 1)
    value = office.does(*ADD)
    assert (value["pending"], value["version"]) == ("root/2.root.pending.json", 2)
    waiting = office.does("root", "status", "root")["pending"]
    assert [one["root_version"] for one in waiting["standings"]] == [1, 2]
    assert [one["wanted"] for one in waiting["standings"]] == [{"any": 1}] * 2
    status, out, _ = office.run("root", "status", "root")
    assert status == 0
    assert "1 more signature wanted" in out
    removed = office.does("root", "cancel", "root")
    assert removed == {"removed": "root/2.root.pending.json"}


def test_a_key_whose_file_is_lost_is_removed_by_its_id(pending: Desk) -> None:
    keys = pending.does("root", "show", "root")["roles"]["release"]["keys"]
    value = pending.does(
        *("root", "remove-key", "root", "--role", "release"),
        *("--key-id", next(iter(keys))),
    )
    assert value["changes"]["roles"]["release"]["removed"] == list(keys)


def test_a_first_root_may_wait_for_its_holders(office: Desk) -> None:
    init = (
        *("root", "init", "--channel", "main", "--root-key", "root.pub"),
        *("--release-key", "release.pub", "--bundler-key", "bundler.pub"),
        *("--compliance-key", "compliance.pub", "--out", "other"),
    )
    office.refuses(*init, code="usage", status=2)
    assert office.does(*init, "--pending") == {
        "pending": "other/1.root.pending.json",
        "version": 1,
    }
    office.refuses(
        *("trust-bundle", "--root", "other", "--version", "1", "--out", "t"),
        code="missing",
    )
    done = office.does("root", "sign", "other", "--key", "root.key", *UNLOCK)
    assert done["in_force"] == "other/1.root.json"


@pytest.mark.parametrize(
    ("profile", "code"), [("hybrid", "usage"), ("cnsa", "root-rule"), ("odd", "usage")]
)
def test_a_profile_that_does_not_fit_the_keys_is_refused(
    office: Desk, profile: str, code: str
) -> None:
    office.refuses(
        *("root", "init", "--channel", "main", "--root-key", "root.key"),
        *("--release-key", "release.pub", "--bundler-key", "bundler.pub"),
        *("--compliance-key", "compliance.pub", "--out", "other"),
        *("--profile", profile, *UNLOCK),
        code=code,
        status=2 if code == "usage" else 3,
    )


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_draft_is_called_a_draft(draft: Desk, command: str) -> None:
    error = draft.refuses(command, "trust", "--root", "root", code="missing")
    assert error["where"] == "metadata/timestamp.json"
    assert "--bundler-key" in error["hint"]


def test_a_draft_wants_its_release_holder_before_its_bundler(draft: Desk) -> None:
    draft.refuses(
        *("attach", "trust", "--bundler-key", "bundler.key", *UNLOCK),
        code="signature-invalid",
    )
    draft.does("sign", "trust", "--key", "release.key", "--yes", *UNLOCK)
    draft.refuses(
        *("attach", "trust", "--bundler-key", "release.key", *UNLOCK),
        code="key-unusable",
    )


def test_a_draft_goes_to_a_room_and_comes_back_a_bundle(draft: Desk) -> None:
    value = draft.does("sign", "trust", "--export", "request.json")
    assert value["manifest"]["purpose"] == "trust"
    signed = draft.does(
        *("sign", "request.json", "--key", "release.key", "--out", "s.json", "--yes"),
        *UNLOCK,
    )
    assert signed["payload_sha256"] == value["payload_sha256"]
    assert len(signed["signed_by"]) == 1
    command = ("attach", "trust", "s.json", "--bundler-key", "bundler.key", *UNLOCK)
    bundle = draft.does(*command)
    assert (bundle["version"], bundle["purpose"]) == (3, "trust")
    assert draft.does("verify", "trust", "--root", "root")["version"] == 3
    before = draft.files()
    assert draft.does(*command) == bundle
    assert draft.files() == before
    draft.refuses("sign", "trust", code="conflict")


def test_a_draft_older_than_the_root_in_force_is_not_completed(draft: Desk) -> None:
    draft.does("sign", "trust", "--key", "release.key", "--yes", *UNLOCK)
    draft.does(*ADD)
    draft.does("root", "sign", "root", "--key", "root.key", *UNLOCK)
    error = draft.refuses(
        *("attach", "trust", "--bundler-key", "bundler.key", "--root", "root"),
        *UNLOCK,
        code="conflict",
    )
    assert (error["expected"], error["actual"]) == ("roots 1 to 2", "roots 1 to 1")


def test_a_trust_bundle_of_keys_at_hand_is_made_in_one_step(office: Desk) -> None:
    value = office.does(*TRUST, *BOTH)
    assert (value["artifacts"], value["purpose"]) == ([], "trust")


def test_a_stolen_key_is_revoked_in_four_commands(office: Desk) -> None:
    office.does(*ADD)
    office.does(
        *("root", "remove-key", "root", "--role", "release", "--key", "release.pub")
    )
    office.does("root", "sign", "root", "--key", "root.key", *UNLOCK)
    office.refuses(*TRUST, *BOTH, code="key-unusable")
    value = office.does(
        *TRUST, "--release-key", "new.key", "--bundler-key", "bundler.key"
    )
    assert value["root_version"] == 2
    assert office.does("verify", "trust", "--root", "root/1.root.json") | {
        "bundle": ""
    } == office.does("verify", "trust", "--root", "root") | {"bundle": ""}


def test_a_built_draft_is_signed_elsewhere_and_completed_here(
    ready: Desk, build_arguments: Arguments
) -> None:
    value = ready.does(*build_arguments(release_key="", bundler_key=""))
    assert (value["complete"], value["version"]) == (False, 1)
    assert len(value["manifest"]["artifacts"]) >= 2
    ready.refuses("verify", "bundle", "--root", "root", code="missing")
    ready.does("sign", "bundle", "--export", "request.json")
    ready.does(
        *("sign", "request.json", "--key", "release.key", "--out", "s.json", "--yes"),
        *UNLOCK,
    )
    ready.does("attach", "bundle", "s.json")
    bundle = ready.does(
        *("attach", "bundle", "--bundler-key", "bundler.key", "--root", "root"),
        *UNLOCK,
    )
    assert bundle["version"] == 1
    verified = ready.does("verify", "bundle", "--root", "root")
    assert verified["artifacts"] == bundle["artifacts"]
