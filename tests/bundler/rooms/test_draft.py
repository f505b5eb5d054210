"""Drafts: what a room refuses to sign, who completes them, and what hosts say."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    ExpiredError,
    MalformedError,
    MissingError,
    SignatureError,
    UsageError,
)
from bundleformat.layout import MANIFEST_PATH, TIMESTAMP_PATH, targets_path
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import fingerprint, initial_state
from bundleformat.verify import verify_metadata
from bundleformat.volume import Volume
from bundler.draft_flow import attach_and_complete, complete_draft
from bundler.errors import KeyFileError
from bundler.progress import SilentMeter
from bundler.rooms.draft import read_draft
from bundler.rooms.subject import (
    Subject,
    check_signable,
    open_subject,
    request_for,
)
from bundler.rooms.view import subject_value
from bundler.roots.first import RootPlan, first_root
from bundler.signing.publish import PublishingKeys
from bundler.signing_flow import attach, request_of
from bundler.trust_bundle_flow import (
    TrustPlan,
    build_trust_bundle,
    build_trust_draft,
)
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    NOW,
    Keys,
    new_keys,
    publish_bundle,
)
from tests.support.root_folder import (
    files_of,
    plan_of,
    sign,
    signed_by,
    subject_of,
)

SECOND = CryptoSigner.generate_ed25519()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return new_keys()


@pytest.fixture(scope="module")
def root_plan(keys: Keys) -> RootPlan:
    """Both of two release holders must sign."""
    return plan_of(
        keys,
        signing=(0,),
        threshold=1,
        more_release=((SECOND,),),
        release_threshold=2,
    )


@pytest.fixture
def draft(tmp_path: Path, keys: Keys, root_plan: RootPlan) -> Path:
    """A draft of a bundle with a policy, which nobody has signed."""
    folder = tmp_path / "draft"
    publish_bundle(
        folder,
        policies=[("site", b"permit (principal, action, resource);\n")],
        keys=keys,
        roots=[first_root(root_plan)],
    )
    (folder / TIMESTAMP_PATH).unlink()
    (folder / "metadata" / "1.snapshot.json").unlink()
    path = folder / targets_path(1)
    targets = Metadata[Targets].from_bytes(path.read_bytes())
    targets.signatures.clear()
    path.write_bytes(targets.to_bytes())
    return folder


def refused(folder: Path, act: Callable[[], object], *, kind: type[Error]) -> Error:
    before = files_of(folder)
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    assert files_of(folder) == before
    return caught.value


def complete(draft: Path, *signers: CryptoSigner, now: dt.datetime = NOW) -> object:
    return complete_draft(
        draft, bundler=signers, now=now, limits=DEFAULT_LIMITS, meter=SilentMeter()
    )


def as_host(folder: Path, root: bytes, scratch: Path) -> object:
    state = initial_state(root, fingerprint=fingerprint(root), now=NOW)
    with Volume(folder) as volume:
        return verify_metadata(
            volume,
            state=state,
            floor=None,
            now=NOW,
            scratch=scratch,
            limits=DEFAULT_LIMITS,
        )


def test_no_host_takes_a_draft(draft: Path, tmp_path: Path) -> None:
    root = read_draft(draft).roots[0]
    with pytest.raises(MissingError) as caught:
        as_host(draft, root, tmp_path)
    assert (caught.value.code, caught.value.where) == ("missing", TIMESTAMP_PATH)
    assert "attach" in caught.value.hint


def test_a_draft_with_too_few_release_signatures_is_not_completed(
    draft: Path, keys: Keys
) -> None:
    refused(draft, lambda: complete(draft, keys.bundler), kind=SignatureError)
    assert not sign(draft, (keys.release,)).complete
    error = refused(draft, lambda: complete(draft, keys.bundler), kind=SignatureError)
    assert (error.where, error.expected, error.actual) == (
        "targets 1",
        "2 signatures",
        "1",
    )


def test_only_a_bundler_key_completes_a_draft(draft: Path, keys: Keys) -> None:
    sign(draft, (keys.release,), (SECOND,))
    refused(draft, lambda: complete(draft, keys.release), kind=KeyFileError)
    refused(draft, lambda: complete(draft, keys.root[0]), kind=KeyFileError)


def test_an_altered_chunk_keeps_a_draft_from_completion(
    draft: Path, keys: Keys
) -> None:
    sign(draft, (keys.release,), (SECOND,))
    (chunk,) = (path for path in (draft / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes().replace(b"permit", b"forbid"))
    error = refused(
        draft, lambda: complete(draft, keys.bundler), kind=DigestMismatchError
    )
    assert error.where == str(chunk.relative_to(draft))


def test_a_draft_that_expired_is_neither_signed_nor_completed(
    draft: Path, keys: Keys
) -> None:
    late = BUNDLE_EXPIRES + dt.timedelta(days=1)
    files = signed_by(draft, (keys.release,), (SECOND,))
    refused(draft, lambda: attach(draft, [files], now=late), kind=ExpiredError)
    attach(draft, [files], now=NOW)
    refused(draft, lambda: complete(draft, keys.bundler, now=late), kind=ExpiredError)
    with pytest.raises(ExpiredError):
        check_signable(subject_of(draft), now=late)


@pytest.mark.parametrize("name", ["root", "bundler", "compliance"])
def test_only_release_keys_sign_what_is_delivered(
    draft: Path, keys: Keys, name: str
) -> None:
    key = keys.root[0] if name == "root" else getattr(keys, name)
    refused(draft, lambda: sign(draft, (key,)), kind=KeyFileError)


def test_completing_with_too_few_signatures_attaches_none(
    draft: Path, keys: Keys
) -> None:
    file = signed_by(draft, (keys.release,))

    def act() -> object:
        return attach_and_complete(
            draft,
            [file],
            bundler=[keys.bundler],
            now=NOW,
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )

    refused(draft, act, kind=SignatureError)


def test_a_complete_bundle_takes_no_signature(draft: Path, keys: Keys) -> None:
    both = signed_by(draft, (keys.release,), (SECOND,))
    late = replace(both[1], signatures=both[1].signatures[1:])
    attach(draft, [both], now=NOW)
    complete(draft, keys.bundler)
    refused(draft, lambda: request_of(draft), kind=ConflictError)
    refused(draft, lambda: complete(draft, keys.bundler), kind=ConflictError)
    before = files_of(draft)
    assert attach(draft, [("late", late)], now=NOW).added == ()
    assert files_of(draft) == before


def altered(
    draft: Path, *, targets: Callable[[Targets], object], manifest: Any = None
) -> Subject:
    request = request_of(draft)
    metadata = Metadata[Targets].from_bytes(request.metadata)
    targets(metadata.signed)
    return open_subject(
        request_for(
            "targets",
            metadata.to_bytes(),
            roots=request.roots,
            manifest=manifest or request.manifest,
        )
    )


def test_a_room_refuses_a_manifest_that_the_targets_do_not_name(draft: Path) -> None:
    data = (draft / MANIFEST_PATH).read_bytes().replace(b'"site"', b'"kite"')
    with pytest.raises(DigestMismatchError) as caught:
        altered(draft, targets=lambda _: None, manifest=data)
    assert caught.value.where == MANIFEST_PATH


def test_a_room_refuses_targets_that_deliver_more_than_it_is_shown(
    draft: Path,
) -> None:
    def add(targets: Targets) -> None:
        one = next(iter(targets.targets.values()))
        targets.targets["c/00/" + "0" * 64] = one

    with pytest.raises(MalformedError):
        altered(draft, targets=add)


@pytest.mark.parametrize("place", ["targets", "target"])
def test_a_room_refuses_what_it_has_no_words_for(draft: Path, place: str) -> None:
    def add(targets: Targets) -> None:
        target = targets.targets[MANIFEST_PATH]
        fields = targets if place == "targets" else target
        fields.unrecognized_fields["x-more"] = 1

    with pytest.raises(MalformedError) as caught:
        altered(draft, targets=add)
    assert "x-more" in caught.value.where


def test_a_room_refuses_targets_of_another_version_than_the_manifest(
    draft: Path,
) -> None:
    def bump(targets: Targets) -> None:
        targets.version = 2

    with pytest.raises(ConflictError) as caught:
        altered(draft, targets=bump)
    assert (caught.value.expected, caught.value.actual) == ("main 2", "main 1")


def test_a_draft_without_its_root_or_its_targets_is_refused(draft: Path) -> None:
    (draft / "metadata" / "1.root.json").unlink()
    with pytest.raises(MalformedError):
        subject_of(draft)
    (draft / targets_path(1)).unlink()
    with pytest.raises(MissingError):
        read_draft(draft)


def test_two_release_holders_and_the_bundler_make_a_bundle(
    draft: Path, keys: Keys, tmp_path: Path
) -> None:
    root = read_draft(draft).roots[0]
    value = subject_value(subject_of(draft))
    assert [item["path"] for item in value["manifest"]["artifacts"]] == [
        "policies/site.cedar"
    ]
    assert value["expires"] == "2027-11-22T12:00:00Z"
    sign(draft, (SECOND,))
    sign(draft, (keys.release,))
    payload = subject_of(draft).payload
    complete(draft, keys.bundler)
    as_host(draft, root, tmp_path)
    published = Metadata[Targets].from_bytes((draft / targets_path(1)).read_bytes())
    assert published.signed_bytes == payload
    timestamp = json.loads((draft / TIMESTAMP_PATH).read_bytes())
    assert timestamp["signed"]["expires"] == value["expires"]


def test_attaching_and_completing_again_verifies_once_more(
    draft: Path, keys: Keys
) -> None:
    file = signed_by(draft, (keys.release,), (SECOND,))
    for _ in range(2):
        bundle = attach_and_complete(
            draft,
            [file],
            bundler=[keys.bundler],
            now=NOW,
            limits=DEFAULT_LIMITS,
            meter=SilentMeter(),
        )
        assert bundle.bundle_version == 1


def trust_plan(keys: Keys, root_plan: RootPlan, out: Path) -> TrustPlan:
    return TrustPlan(
        roots=(first_root(root_plan),),
        version=7,
        keys=PublishingKeys(release=(keys.release, SECOND), bundler=(keys.bundler,)),
        out=out,
        created=NOW,
        expires=BUNDLE_EXPIRES,
    )


def test_a_trust_bundle_refuses_what_no_host_would_take(
    keys: Keys, root_plan: RootPlan, tmp_path: Path
) -> None:
    plan = trust_plan(keys, root_plan, tmp_path / "trust")
    ahead = NOW + dt.timedelta(days=2)
    few = PublishingKeys(release=(keys.release,), bundler=(keys.bundler,))
    swapped = PublishingKeys(release=(keys.bundler, SECOND), bundler=(keys.bundler,))
    other = first_root(plan_of(new_keys(), signing=(0,), threshold=1))
    for bad, kind in (
        (replace(plan, out=tmp_path), ConflictError),
        (replace(plan, created=ahead), UsageError),
        (replace(plan, expires=NOW), ExpiredError),
        (replace(plan, keys=few), UsageError),
        (replace(plan, keys=swapped), KeyFileError),
        (replace(plan, roots=(other, *plan.roots)), SignatureError),
    ):
        with pytest.raises(kind):
            build_trust_bundle(bad, now=NOW, limits=DEFAULT_LIMITS)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises((kind, MalformedError)):
            build_trust_draft(bad, now=NOW)
        assert list(tmp_path.iterdir()) == []


def test_a_trust_bundle_delivers_nothing_but_roots(
    keys: Keys, root_plan: RootPlan, tmp_path: Path
) -> None:
    plan = trust_plan(keys, root_plan, tmp_path / "trust")
    bundle = build_trust_bundle(plan, now=NOW, limits=DEFAULT_LIMITS)
    assert (bundle.manifest.purpose, bundle.manifest.artifacts) == ("trust", ())
    assert bundle.bundle_version == 7
    as_host(plan.out, plan.roots[0], tmp_path)


def test_a_draft_of_a_trust_bundle_is_signed_like_any_other(
    keys: Keys, root_plan: RootPlan, tmp_path: Path
) -> None:
    plan = trust_plan(keys, root_plan, tmp_path / "trust")
    build_trust_draft(
        replace(plan, keys=PublishingKeys(release=(), bundler=())), now=NOW
    )
    assert subject_value(subject_of(plan.out))["manifest"]["purpose"] == "trust"
    sign(plan.out, (keys.release,), (SECOND,))
    complete(plan.out, keys.bundler)
    as_host(plan.out, plan.roots[0], tmp_path)


def test_hybrid_and_cnsa_drafts_are_completed_too(tmp_path: Path) -> None:
    for kind, profile in (("hybrid", "hybrid"), ("ml-dsa-87", "cnsa")):
        keys = new_keys(kind=kind)  # type: ignore[arg-type]
        root = plan_of(
            keys,
            signing=(0,),
            threshold=1,
            profile=profile,  # type: ignore[arg-type]
        )
        plan = replace(
            trust_plan(keys, root, tmp_path / profile),
            keys=PublishingKeys(release=(), bundler=()),
        )
        build_trust_draft(plan, now=NOW)
        if profile == "hybrid":
            assert not sign(plan.out, (keys.release,)).complete
        assert sign(plan.out, keys.publishing.release).complete  # type: ignore[arg-type]
        bundle = complete(plan.out, *keys.publishing.bundler)  # type: ignore[arg-type]
        assert bundle.manifest.purpose == "trust"  # type: ignore[attr-defined]
