import datetime as dt
import json
from collections.abc import Callable

import pytest

from bundleformat import tufclient
from bundleformat.errors import (
    ExpiredError,
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    SignatureError,
    StorageFaultError,
    UsageError,
)
from bundleformat.limits import Limits
from bundleformat.report import error_lines
from bundleformat.trust import (
    CHANNEL_FIELD,
    COMPLIANCE_FIELD,
    TrustState,
    channel_of,
    check_root,
    compliance_keys,
    fingerprint,
    grouped,
    initial_state,
)
from tests.support.publisher import (
    NOW,
    ROOT_EXPIRES,
    Keys,
    make_root,
    new_keys,
    next_root,
)


@pytest.fixture
def keys() -> Keys:
    return new_keys(roots=2)


@pytest.fixture
def root(keys: Keys) -> bytes:
    return make_root(keys, threshold=2)


@pytest.mark.parametrize(
    "spelt", [str, str.upper, grouped, lambda f: f[:8] + ":" + f[8:]]
)
def test_trust_begins_with_a_root_whose_fingerprint_agrees(
    root: bytes, spelt: Callable[[str], str]
) -> None:
    state = initial_state(root, fingerprint=spelt(fingerprint(root)), now=NOW)
    assert state.files == (("bootstrap.json", root), ("root_history/1.root.json", root))
    assert channel_of(state) == "main"


def test_trust_is_refused_when_the_fingerprint_differs(root: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        initial_state(root, fingerprint="0" * 64, now=NOW)
    assert caught.value.expected == grouped("0" * 64)


def test_the_fingerprint_of_a_file_is_not_given_to_whoever_guessed_wrongly(
    root: bytes,
) -> None:
    # It would be typed in, and the file be compared with itself.
    with pytest.raises(SignatureError) as caught:
        initial_state(root, fingerprint="0" * 64, now=NOW)
    said = "".join(error_lines(caught.value, program="x", as_json=True))
    said += "".join(error_lines(caught.value, program="x", as_json=False))
    for group in grouped(fingerprint(root)).split():
        assert group not in said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "0 given"),
        ("00", "2 given"),
        ("0123 4567-" * 4, "32 given"),
        ("0" * 65, "65 given"),
        ("g" * 64, "'g' is none"),
        ("\u0661" * 64, "'\\u0661' is none"),
    ],
)
def test_what_is_no_fingerprint_is_a_wrong_command(
    root: bytes, typed: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        initial_state(root, fingerprint=typed, now=NOW)
    assert caught.value.exit_status == 2
    assert caught.value.problem == f"expected 64 hexadecimal digits, {said}"


def test_a_root_signed_by_fewer_keys_than_its_threshold_is_refused(
    keys: Keys, root: bytes
) -> None:
    weak = next_root(root, signers=keys.root[:1], version=1)
    with pytest.raises(SignatureError) as caught:
        check_root(weak, now=NOW)
    assert caught.value.expected == "2 signatures"


def test_an_expired_root_is_refused(root: bytes) -> None:
    with pytest.raises(ExpiredError):
        check_root(root, now=ROOT_EXPIRES)
    assert check_root(root, now=ROOT_EXPIRES - dt.timedelta(seconds=1)).version == 1


def test_a_root_above_its_cap_is_refused_before_it_is_parsed(root: bytes) -> None:
    with pytest.raises(LimitExceededError):
        check_root(root, now=NOW, limits=Limits(root_bytes=100))


def test_a_root_says_who_holds_which_role(keys: Keys, root: bytes) -> None:
    facts = check_root(root, now=NOW)
    assert facts.channel == "main"
    assert (facts.version, facts.threshold) == (1, 2)
    assert set(facts.root_keys) == {key.public_key.keyid for key in keys.root}
    assert facts.compliance_keys == (keys.compliance.public_key.keyid,)
    assert facts.expires == ROOT_EXPIRES


def test_compliance_keys_come_from_the_newest_root(keys: Keys, root: bytes) -> None:
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    found = compliance_keys(state)
    assert found == {keys.compliance.public_key.keyid: keys.compliance.public_key}
    second = next_root(
        root,
        signers=keys.root,
        change=lambda r: r.unrecognized_fields.update({COMPLIANCE_FIELD: {}}),
    )
    after = TrustState(files=(*state.files, ("root_history/2.root.json", second)))
    assert compliance_keys(after) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (CHANNEL_FIELD, None),
        (CHANNEL_FIELD, 7),
        (CHANNEL_FIELD, "Not A Name"),
        (COMPLIANCE_FIELD, []),
        (COMPLIANCE_FIELD, {"ab": {}}),
        (COMPLIANCE_FIELD, {"ab": "key"}),
        ("consistent_snapshot", False),
    ],
)
def test_a_root_with_a_bad_field_is_malformed(
    root: bytes, field: str, value: object
) -> None:
    document = json.loads(root)
    document["signed"][field] = value
    with pytest.raises(MalformedError):
        check_root(json.dumps(document).encode(), now=NOW)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"signed":{}}'])
def test_what_is_no_root_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        check_root(data, now=NOW)


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "root_history/0.root.json", "x.json"]
)
def test_a_trust_state_has_a_closed_set_of_names(name: str) -> None:
    with pytest.raises(StorageFaultError):
        TrustState(files=((name, b""),))


def test_a_trust_state_without_a_root_is_a_fault() -> None:
    with pytest.raises(StorageFaultError):
        TrustState(files=()).newest_root()


class _TrustedSet:
    def __init__(self) -> None:
        self.reference_time = NOW


class _Updater:
    def __init__(self, trusted: object) -> None:
        self._trusted_set = trusted


def test_the_reference_time_is_set_where_the_library_keeps_it() -> None:
    trusted = _TrustedSet()
    later = NOW + dt.timedelta(days=1)
    tufclient._set_reference_time(_Updater(trusted), later)  # type: ignore[arg-type]
    assert trusted.reference_time == later


@pytest.mark.parametrize("updater", [object(), _Updater(None), _Updater(object())])
def test_a_library_that_keeps_its_time_elsewhere_is_a_fault(updater: object) -> None:
    with pytest.raises(InternalFaultError):
        tufclient._set_reference_time(updater, NOW)  # type: ignore[arg-type]
