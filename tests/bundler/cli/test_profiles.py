"""From keygen to a verified bundle, in each profile, as a person types it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundleformat import site_certificate
from bundleformat.errors import SignatureError
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.profile import Profile
from bundleformat.trust import compliance_of, fingerprint, initial_state
from bundler.signing.keys import FileKeyKind, create_key, load_signers
from bundler.signing.passphrase import Passphrases
from tests.bundler.conftest import PASSPHRASE, SPEC, Desk
from tests.support.compliance import certificate
from tests.support.publisher import NOW

KINDS: dict[FileKeyKind, Profile] = {"hybrid": "hybrid", "ml-dsa-87": "cnsa"}
ROLES = ("root", "release", "bundler", "compliance")
ASKED = Passphrases(file=None, ask=lambda _: PASSPHRASE)


@pytest.fixture(scope="module", params=KINDS)
def cabinet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Profile]:
    """The four keys of a profile; made once, since stretching is slow."""
    kind: FileKeyKind = request.param
    folder = tmp_path_factory.mktemp("cabinet")
    for role in ROLES:
        create_key(folder / role, ASKED, kind=kind)
    return folder, KINDS[kind]


@pytest.fixture
def at_desk(desk: Desk, cabinet: tuple[Path, Profile], tiny_model: Path) -> Desk:
    folder, profile = cabinet
    shutil.copytree(folder, desk.folder, dirs_exist_ok=True)
    shutil.copy(tiny_model, desk.folder / "tiny.gguf")
    (desk.folder / "site.cedar").write_text("permit (principal, action, resource);\n")
    (desk.folder / "spec.toml").write_text(SPEC)
    desk.does(*root_init(profile))
    return desk


def root_init(profile: Profile, out: str = "root") -> tuple[str, ...]:
    return (
        *("root", "init", "--channel", "main", "--profile", profile),
        *("--root-key", "root.key", "--release-key", "release.pub"),
        *("--bundler-key", "bundler.pub", "--compliance-key", "compliance.pub"),
        *("--out", out, "--passphrase-file", "pw"),
    )


@pytest.mark.parametrize("cabinet", ["hybrid"], indirect=True)
def test_a_site_certificate_with_one_of_two_signatures_is_void(at_desk: Desk) -> None:
    data = (at_desk.folder / "root" / "1.root.json").read_bytes()
    trusted = compliance_of(initial_state(data, fingerprint=fingerprint(data), now=NOW))
    signers = load_signers(at_desk.folder / "compliance.key", ASKED)
    for signer in signers:
        half = site_certificate.issue(certificate(), signer)
        with pytest.raises(SignatureError):
            site_certificate.parse(half, keys=[trusted], limits=DEFAULT_LIMITS)
    whole = site_certificate.issue(certificate(), *signers)
    found = site_certificate.parse(whole, keys=[trusted], limits=DEFAULT_LIMITS)
    assert found == certificate()


def test_a_bundle_is_built_and_verified(
    at_desk: Desk,
    cabinet: tuple[Path, Profile],
    build_arguments: Callable[..., tuple[str, ...]],
) -> None:
    at_desk.does(*build_arguments())
    value = at_desk.does("verify", "bundle", "--root", "root")
    assert len(value["signed_by"]) == (4 if cabinet[1] == "hybrid" else 2)
    manifest = (at_desk.folder / "bundle/targets/manifest.json").read_bytes()
    digest = b"sha384" if cabinet[1] == "cnsa" else b"sha256"
    assert b'"digest":"%b"' % digest in manifest


@pytest.mark.parametrize("cabinet", ["hybrid"], indirect=True)
def test_half_of_a_holders_keys_does_not_build_a_hybrid_bundle(
    at_desk: Desk, build_arguments: Callable[..., tuple[str, ...]]
) -> None:
    end = "-----END ENCRYPTED PRIVATE KEY-----\n"
    for half in (at_desk.folder / "release.key").read_text().split(end)[:2]:
        (at_desk.folder / "half.key").write_text(f"{half}{end}")
        at_desk.refuses(
            *build_arguments(release_key="half.key"), code="usage", status=2
        )
