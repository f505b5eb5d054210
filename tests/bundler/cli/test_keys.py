"""keygen, root and site: refusals first."""

import base64
import datetime as dt
import os
import stat
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from bundleformat import ledger_release, site_certificate
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.retention import Retention
from bundleformat.trust import (
    channel_of,
    compliance_keys,
    compliance_of,
    fingerprint,
    grouped,
    initial_state,
)
from bundler.cli.runtime import Runtime
from tests.bundler.conftest import PASSPHRASE, Desk
from tests.support.publisher import NOW

UNLOCK = ("--passphrase-file", "pw")


def root_init(**changed: tuple[str, ...]) -> tuple[str, ...]:
    options: dict[str, tuple[str, ...]] = {
        "channel": ("main",),
        "root-key": ("root.key",),
        "release-key": ("release.pub",),
        "bundler-key": ("bundler.pub",),
        "compliance-key": ("compliance.pub",),
        "passphrase-file": ("pw",),
        "out": ("other",),
    } | {name.replace("_", "-"): values for name, values in changed.items()}
    return (
        "root",
        "init",
        *(
            part
            for name, values in options.items()
            for value in values
            for part in (f"--{name}", value)
        ),
    )


@pytest.mark.parametrize("ending", ["key", "pub"])
def test_keygen_never_overwrites_a_key(desk: Desk, ending: str) -> None:
    (desk.folder / f"mine.{ending}").write_text("precious")
    desk.refuses("keygen", "mine", *UNLOCK, code="conflict")


def test_keygen_without_a_file_or_a_terminal_is_refused(desk: Desk) -> None:
    desk.refuses("keygen", "mine", code="usage", status=2)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "keys/", "keys/.", "keys/..", "/keys/"]
)
def test_keygen_refuses_what_names_no_file(desk: Desk, name: str) -> None:
    (desk.folder / "keys").mkdir()
    error = desk.refuses("keygen", name, *UNLOCK, code="usage", status=2)
    assert (error["where"], error["actual"]) == ("NAME", repr(name))
    names = sorted(path.name for path in desk.folder.iterdir())
    assert names == ["keys", "pw"]


def test_keygen_refuses_a_name_that_no_file_can_have(desk: Desk) -> None:
    desk.refuses("keygen", "k" * 300, *UNLOCK, code="storage-fault", status=4)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_passphrase_file_that_others_can_read_is_refused(
    desk: Desk, mode: int
) -> None:
    (desk.folder / "pw").chmod(mode)
    desk.refuses("keygen", "mine", *UNLOCK, code="key-unusable")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "short", "two lines of\npassphrase text\n", "x" * 2_000, " " * 20],
)
def test_an_unfit_passphrase_file_is_refused(desk: Desk, text: str) -> None:
    (desk.folder / "pw").write_text(text)
    desk.refuses("keygen", "mine", *UNLOCK, code="key-unusable")


def test_a_typed_passphrase_of_nothing_but_spaces_is_refused(desk: Desk) -> None:
    desk.runtime = Runtime(now=NOW, ask=lambda _: " \t\u00a0" * 8)
    error = desk.refuses("keygen", "mine", code="key-unusable")
    assert error["message"] == "the passphrase is nothing but white space"


def test_an_absent_passphrase_file_is_refused(desk: Desk) -> None:
    desk.refuses("keygen", "mine", "--passphrase-file", "none", code="key-unusable")


def test_a_passphrase_typed_differently_is_refused(desk: Desk) -> None:
    typed = iter(["a long passphrase", "another passphrase"])
    desk.runtime = Runtime(now=NOW, ask=lambda _: next(typed))
    desk.refuses("keygen", "mine", code="key-unusable")


def test_a_key_that_cannot_be_written_leaves_nothing(desk: Desk) -> None:
    (desk.folder / "file").write_text("in the way")
    desk.refuses("keygen", "file/mine", *UNLOCK, code="storage-fault", status=4)


def test_keygen_writes_a_private_key_that_only_its_owner_reads(desk: Desk) -> None:
    old = os.umask(0)
    try:
        value = desk.does("keygen", "keys/mine", *UNLOCK)
    finally:
        os.umask(old)
    private = desk.folder / "keys" / "mine.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in private.read_bytes()
    key = load_pem_private_key(private.read_bytes(), PASSPHRASE.encode())
    assert isinstance(key, Ed25519PrivateKey)
    assert (
        (desk.folder / "keys" / "mine.pub").read_bytes().startswith(b"-----BEGIN PUB")
    )
    assert value == {
        "kind": "ed25519",
        "holder": "",
        "key_ids": value["key_ids"],
        "private": "keys/mine.key",
        "public": "keys/mine.pub",
    }
    assert [len(key_id) for key_id in value["key_ids"]] == [64]


def test_a_key_is_stretched_by_as_many_rounds_as_this_decade_asks_for(
    desk: Desk,
) -> None:
    desk.does("keygen", "mine", *UNLOCK)
    lines = (desk.folder / "mine.key").read_text().splitlines()[1:-1]
    # A DER integer of three bytes: 600 000.
    assert bytes.fromhex("0203 0927c0") in base64.b64decode("".join(lines))


def test_no_passphrase_is_ever_printed(desk: Desk) -> None:
    for arguments in (("keygen", "mine", *UNLOCK), ("keygen", "mine", *UNLOCK)):
        _, out, err = desk.run(*arguments)
        assert PASSPHRASE not in out + err


def test_keygen_asks_twice_at_a_terminal(desk: Desk) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return PASSPHRASE

    desk.runtime = Runtime(now=NOW, ask=ask)
    desk.does("keygen", "mine")
    assert len(prompts) == 2


def test_root_init_never_overwrites(with_root: Desk) -> None:
    with_root.refuses(*root_init(out=("root",)), code="conflict")


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [
        ({"channel": ("Main",)}, "malformed", 3),
        ({"expires": ("1095",)}, "usage", 2),
        ({"expires": ("0d",)}, "usage", 2),
        ({"expires": ("9999d",)}, "usage", 2),
        ({"threshold": ("2",)}, "usage", 2),
        ({"threshold": ("0",)}, "usage", 2),
        ({"root_key": ("root.key", "root.key")}, "usage", 2),
        ({"root_key": ("root.pub",)}, "usage", 2),
        ({"root_key": ()}, "usage", 2),
        ({"release_key": ("root.pub",)}, "usage", 2),
        ({"compliance_key": ("root.pub",)}, "usage", 2),
        ({"compliance_key": ()}, "usage", 2),
        ({"root_key": ("none.key",)}, "key-unusable", 3),
        ({"release_key": ("pw",)}, "key-unusable", 3),
        ({"passphrase_file": ("none",)}, "key-unusable", 3),
    ],
)
def test_root_init_refuses_what_makes_no_root(
    with_root: Desk, changed: dict[str, tuple[str, ...]], code: str, status: int
) -> None:
    with_root.refuses(*root_init(**changed), code=code, status=status)


@pytest.mark.parametrize("option", ["root_key", "release_key", "compliance_key"])
def test_what_is_neither_half_of_a_key_is_called_so(
    with_root: Desk, option: str
) -> None:
    error = with_root.refuses(*root_init(**{option: ("pw",)}), code="key-unusable")
    assert error["where"] == "pw"
    assert ".pub or .key" in error["expected"]


def test_a_wrong_passphrase_does_not_open_a_key(with_root: Desk) -> None:
    (with_root.folder / "pw").write_text("some other passphrase")
    with_root.refuses(*root_init(), code="key-unusable")


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_key_of_another_kind_is_refused(with_root: Desk, *, encrypted: bool) -> None:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if encrypted
        else Ed25519PrivateKey.generate()
    )
    pem = key.private_bytes(
        Encoding.PEM,
        PrivateFormat.PKCS8,
        BestAvailableEncryption(PASSPHRASE.encode()) if encrypted else NoEncryption(),
    )
    (with_root.folder / "odd.key").write_bytes(pem)
    with_root.refuses(*root_init(root_key=("odd.key",)), code="key-unusable")


def test_root_init_makes_a_root_that_a_host_can_begin_with(with_root: Desk) -> None:
    value = with_root.does(*root_init(expires=("30d",)))
    data = (with_root.folder / "other" / "1.root.json").read_bytes()
    assert value["fingerprint"] == fingerprint(data)
    state = initial_state(data, fingerprint=value["fingerprint"], now=NOW)
    assert channel_of(state) == "main"
    assert list(compliance_keys(state)) == value["compliance_keys"]
    assert value["expires"] == "2026-12-22T12:00:00Z"


def test_root_init_takes_a_majority_and_absent_holders(desk: Desk) -> None:
    for name in ("r1", "r2", "r3", "release", "bundler"):
        desk.does("keygen", name, *UNLOCK)
    value = desk.does(
        *root_init(
            root_key=("r1.key", "r2.key", "r3.pub"), compliance_key=("release.pub",)
        )
    )
    assert (value["threshold"], len(value["root_keys"])) == (2, 3)
    assert len(value["compliance_keys"]) == 1


@pytest.mark.parametrize("place", ["root", "root/1.root.json"])
def test_root_show_prints_the_fingerprint_in_groups(
    with_root: Desk, place: str
) -> None:
    data = (with_root.folder / "root" / "1.root.json").read_bytes()
    status, out, _ = with_root.run("root", "show", place)
    assert status == 0
    assert grouped(fingerprint(data)) in out


def test_root_show_refuses_what_is_no_root(with_root: Desk) -> None:
    error = with_root.refuses("root", "show", "pw", code="malformed")
    assert error["where"] == "pw: root"
    with_root.refuses("root", "show", "none", code="missing")
    (with_root.folder / "empty").mkdir()
    error = with_root.refuses("root", "show", "empty", code="missing")
    assert error["where"] == "empty/1.root.json"


def site_issue(**changed: str) -> tuple[str, ...]:
    options = {
        "key": "compliance.key",
        "site": "blr-07",
        "region": "in-blr",
        "jurisdiction": "IN",
        "out": "site.json",
        "passphrase-file": "pw",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    pairs = ((f"--{name}", value) for name, value in options.items())
    return ("site", "issue", *(part for pair in pairs for part in pair))


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [
        ({"out": "pw"}, "conflict", 3),
        ({"key": "compliance.pub"}, "key-unusable", 3),
        ({"region": "IN BLR"}, "usage", 2),
        ({"jurisdiction": "India"}, "usage", 2),
        ({"site": ""}, "usage", 2),
        ({"retention": "gdpr"}, "usage", 2),
        ({"records_days": "9"}, "usage", 2),
        ({"retention": "dpdp", "bodies_days": "400"}, "usage", 2),
        ({"expires": "forever"}, "usage", 2),
        ({"passphrase_file": "none"}, "key-unusable", 3),
    ],
)
def test_site_issue_refuses_what_makes_no_certificate(
    with_root: Desk, changed: dict[str, str], code: str, status: int
) -> None:
    with_root.refuses(*site_issue(**changed), code=code, status=status)


@pytest.mark.parametrize(
    ("option", "value"),
    [("region", "IN-BLR"), ("site", "blr 07"), ("jurisdiction", "in")],
)
def test_site_issue_names_the_option_that_is_wrong_and_its_value(
    with_root: Desk, option: str, value: str
) -> None:
    error = with_root.refuses(*site_issue(**{option: value}), code="usage", status=2)
    assert (error["where"], error["actual"]) == (f"--{option}", repr(value))


def test_site_issue_makes_a_certificate_that_the_root_vouches_for(
    with_root: Desk,
) -> None:
    more = ("--jurisdiction", "AE", "--expires", "10d")
    kept = ("--retention", "pci", "--retention", "hipaa", "--bodies-days", "30")
    value = with_root.does(*site_issue(), *more, *kept)
    root = (with_root.folder / "root" / "1.root.json").read_bytes()
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    certificate = site_certificate.parse(
        (with_root.folder / "site.json").read_bytes(),
        keys=[compliance_of(state)],
        limits=DEFAULT_LIMITS,
    )
    assert (certificate.site, certificate.region) == ("blr-07", "in-blr")
    assert certificate.jurisdictions == ("AE", "IN")
    assert certificate.not_before == NOW
    assert certificate.not_after == NOW + dt.timedelta(days=10)
    assert certificate.retention == Retention(presets=("hipaa", "pci"), bodies_days=30)
    assert value["retention"] == {"record": 2_192, "body": 30}
    assert value["key_ids"] == list(compliance_keys(state))


def site_release(**changed: str) -> tuple[str, ...]:
    options = {
        "key": "compliance.key",
        "log": "sallyport/audit/0123456789abcdef",
        "halt": "3",
        "cause": "disk-full",
        "halted": "2026-11-22T08:04:29.123456Z",
        "reason": "the disk has room again",
        "out": "release.json",
        "passphrase-file": "pw",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    pairs = ((f"--{name}", value) for name, value in options.items())
    return ("site", "release", *(part for pair in pairs for part in pair))


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [
        ({"out": "pw"}, "conflict", 3),
        ({"key": "compliance.pub"}, "key-unusable", 3),
        ({"halt": "0"}, "usage", 2),
        ({"cause": "bored"}, "usage", 2),
        ({"passphrase_file": "none"}, "key-unusable", 3),
    ],
)
def test_site_release_refuses_what_makes_no_release(
    with_root: Desk, changed: dict[str, str], code: str, status: int
) -> None:
    with_root.refuses(*site_release(**changed), code=code, status=status)


@pytest.mark.parametrize(
    ("option", "value"),
    [("halted", "yesterday"), ("log", "two words"), ("reason", "two\nlines")],
)
def test_site_release_names_the_option_that_is_wrong(
    with_root: Desk, option: str, value: str
) -> None:
    arguments = site_release(**{option: value})
    error = with_root.refuses(*arguments, code="usage", status=2)
    assert error["where"] == f"--{option}"


def test_site_release_makes_a_release_that_the_root_vouches_for(
    with_root: Desk,
) -> None:
    value = with_root.does(*site_release())
    root = (with_root.folder / "root" / "1.root.json").read_bytes()
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    release, signed_by = ledger_release.parse(
        (with_root.folder / "release.json").read_bytes(),
        keys=[compliance_of(state)],
        limits=DEFAULT_LIMITS,
    )
    assert release.log == "sallyport/audit/0123456789abcdef"
    assert (release.halt, release.cause) == (3, "disk-full")
    assert release.reason == "the disk has room again"
    assert release.issued == NOW
    assert list(signed_by) == value["key_ids"] == list(compliance_keys(state))


def test_the_private_key_does_not_open_with_another_passphrase(desk: Desk) -> None:
    desk.runtime = replace(desk.runtime, ask=lambda _: PASSPHRASE)
    desk.does("keygen", "mine")
    with pytest.raises(ValueError, match=r".+"):
        load_pem_private_key(
            (desk.folder / "mine.key").read_bytes(), b"another passphrase"
        )
