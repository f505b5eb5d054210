"""Going back to a kept generation: what is refused, what moves, what never moves."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import generation_flow, store_flow
from appliance.errors import HostNotReadyError
from appliance.generation_flow import Change
from appliance.intake import trust_state
from appliance.intake.lock import hold_import_lock
from appliance.registry.catalogue import Reason
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    ConflictError,
    MalformedError,
    MissingError,
    RefusalError,
    RollbackError,
    SignatureError,
    UsageError,
)
from bundler.roots.first import first_root
from tests.support.generations import Kept, kept_host
from tests.support.importing import Host, import_bundle
from tests.support.publisher import Published, new_keys, next_version
from tests.support.root_folder import plan_of, release_holder

ONE = {"model/a": b"model one", "policy/p": b"// one\n"}
TWO = {"model/a": b"model two", "policy/p": b"// two\n"}
THREE = {"model/b": b"model three"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = kept_host(tmp_path / "home")
    yield kept
    kept.host.close()


def activate(kept: Kept, identity: int) -> Change:
    return generation_flow.activate(
        kept.parts, identity, reason=Reason.ACTIVATE, environments=kept.environments
    )


def roll_back(kept: Kept, channel: str | None = None) -> int:
    change = generation_flow.find_rollback(kept.parts, channel=channel)
    done = generation_flow.activate(
        kept.parts,
        change.after.id,
        reason=Reason.ROLLBACK,
        environments=kept.environments,
    )
    return done.after.version


def refuses(kept: Kept, identity: int, kind: type[RefusalError]) -> RefusalError:
    """Activate, expect a refusal, and check that no row of anything changed."""
    before = kept.host.rows()
    with pytest.raises(kind) as caught:
        activate(kept, identity)
    assert type(caught.value) is kind
    assert kept.host.rows() == before
    return caught.value


def test_a_generation_that_is_not_there_is_refused(kept: Kept) -> None:
    kept.deliver(1, ONE)
    assert refuses(kept, 7, MissingError).where == "7"


def test_a_first_generation_has_nothing_before_it(kept: Kept) -> None:
    with pytest.raises(MissingError):
        generation_flow.find_rollback(kept.parts, channel=None)
    kept.deliver(1, ONE)
    with pytest.raises(MissingError):
        generation_flow.find_rollback(kept.parts, channel=None)


def test_a_rollback_among_several_channels_has_to_name_one(kept: Kept) -> None:
    kept.deliver(1, ONE)
    kept.deliver(1, THREE, channel="extra")
    kept.deliver(2, TWO)
    with pytest.raises(UsageError):
        generation_flow.find_rollback(kept.parts, channel=None)
    assert roll_back(kept, "main") == 1
    assert kept.host.active() == {"main": 1, "extra": 1}


@pytest.mark.parametrize("harm", ["missing", "damaged", "shorter", "a folder"])
def test_a_generation_that_lost_a_file_is_refused_and_the_file_named(
    kept: Kept, harm: str
) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    path = kept.path(ONE["model/a"])
    path.chmod(0o600)
    if harm == "damaged":
        path.write_bytes(b"model ONE")
    elif harm == "shorter":
        path.write_bytes(b"model")
    else:
        path.unlink()
    if harm == "a folder":
        path.mkdir()
    refused = refuses(kept, first, MissingError)
    assert (refused.where, refused.actual) == ("main 1", "a")
    assert "bundle 1" in refused.hint


def test_a_name_that_another_channel_uses_meanwhile_is_refused(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, THREE)
    kept.deliver(1, {"model/a": b"of another"}, channel="extra")
    refused = refuses(kept, first, ConflictError)
    assert (refused.where, refused.actual) == ("a", "extra")


def test_policies_that_do_not_compile_with_the_others_are_refused(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    kept.deliver(1, {"policy/q": b"// other\n"}, channel="extra")
    seen: list[tuple[tuple[str, bytes], ...]] = []

    def refuse(policies: tuple[tuple[str, bytes], ...]) -> None:
        seen.append(policies)
        raise MalformedError("does not compile", where="p")

    before = kept.host.rows()
    with pytest.raises(MalformedError):
        generation_flow.activate(
            replace(kept.parts, check_policies=refuse),
            first,
            reason=Reason.ACTIVATE,
            environments=kept.environments,
        )
    assert kept.host.rows() == before
    assert seen == [(("p", b"// one\n"), ("q", b"// other\n"))]


def test_a_generation_whose_signers_are_no_longer_trusted_is_refused(
    kept: Kept,
) -> None:
    first = kept.deliver(1, ONE, signed_by=("ab" * 32,))
    kept.deliver(2, TWO)
    assert refuses(kept, first, SignatureError).where == "main 1"


def test_two_keys_of_one_kind_are_no_signers_of_a_hybrid_channel(
    tmp_path: Path,
) -> None:
    keys, second = new_keys(kind="hybrid"), new_keys(kind="hybrid")
    plan = plan_of(
        keys,
        signing=(0,),
        threshold=1,
        profile="hybrid",
        more_release=(release_holder(second),),
    )
    kept = kept_host(tmp_path / "home", keys=keys, root=first_root(plan))
    classical, ml_dsa = zip(release_holder(keys), release_holder(second), strict=True)
    first = kept.deliver(1, ONE, signed_by=tuple(k.public_key.keyid for k in classical))
    other = kept.deliver(2, TWO, signed_by=tuple(k.public_key.keyid for k in ml_dsa))
    kept.deliver(
        3, THREE, signed_by=tuple(k.public_key.keyid for k in release_holder(keys))
    )
    for identity in (first, other):
        assert refuses(kept, identity, SignatureError).actual == "0"
    assert kept.host.active() == {"main": 3}
    kept.host.close()


def test_a_trust_state_that_was_put_back_vouches_for_no_generation(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    import_bundle(host.parts(), bundle.folder)
    with host.database.begin() as connection:
        old = trust_state.load(connection, "main").state
    import_bundle(host.parts(), next_version(bundle, tmp_path / "second").folder)
    with host.database.begin() as connection:
        trust_state.save(connection, channel="main", state=old, floor=None)
    change = generation_flow.find_rollback(host.parts(), channel=None)
    before = host.rows()
    with pytest.raises(RollbackError) as caught:
        generation_flow.activate(
            host.parts(),
            change.after.id,
            reason=Reason.ROLLBACK,
            environments=host.home / "environments",
        )
    assert caught.value.where == "trust state"
    assert host.rows() == before


def test_an_environment_that_is_gone_is_refused_and_named(kept: Kept) -> None:
    first = kept.deliver(1, ONE, environments=("tools",))
    kept.deliver(2, TWO)
    assert refuses(kept, first, MissingError).actual == "tools"
    sha256 = generation_flow.find_change(kept.parts, first).after.manifest_sha256
    mark = kept.environments / sha256 / "tools" / "sallyport-environment.json"
    mark.parent.mkdir(parents=True)
    mark.write_bytes(b"{}")
    assert activate(kept, first).changes


def test_nothing_is_activated_while_an_import_runs(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    with hold_import_lock(kept.host.staging), pytest.raises(HostNotReadyError):
        activate(kept, first)
    assert kept.host.active() == {"main": 2}


def test_rolling_back_moves_the_generation_and_never_the_trust(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    second = kept.deliver(2, TWO)
    before = kept.host.rows()
    assert roll_back(kept) == 1
    after = kept.host.rows()
    assert kept.host.active() == {"main": 1}
    for table in ("trust_file", "trust_floor"):
        assert after[table] == before[table]
    (record,) = kept.host.events("generation.activated")
    said = json.loads(record)
    assert (said["generation"], said["version"]) == (first, 1)
    assert (said["previous_generation"], said["previous_version"]) == (second, 2)
    assert (said["reason"], said["operator_uid"]) == ("rollback", os.getuid())


def test_rolling_back_twice_returns_and_an_id_goes_further_back(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    kept.deliver(3, THREE)
    assert [roll_back(kept) for _ in range(3)] == [2, 3, 2]
    assert activate(kept, first).withdrawn == ()
    assert kept.host.active() == {"main": 1}
    assert roll_back(kept) == 2


def test_activating_what_is_active_changes_nothing_and_is_not_recorded(
    kept: Kept,
) -> None:
    kept.deliver(1, ONE)
    second = kept.deliver(2, TWO)
    before = kept.host.rows()
    assert not activate(kept, second).changes
    assert kept.host.rows() == before


def test_what_only_the_newer_one_offers_is_said_to_be_withdrawn(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, {**TWO, "model/new": b"new", "sbom/all": b"{}"})
    names = [each.name for each in activate(kept, first).withdrawn]
    assert names == ["new"]


def test_the_list_says_which_files_are_gone(kept: Kept) -> None:
    kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    kept.deliver(3, THREE)
    store_flow.collect(kept.parts, environments=kept.environments)
    listed = generation_flow.list_generations(kept.parts)
    said = [
        (
            each.generation.version,
            each.missing_files,
            bool(each.generation.collected_ts),
        )
        for each in listed
    ]
    assert said == [(3, 0, False), (2, 0, False), (1, 2, True)]


def test_importing_a_collected_generation_again_makes_it_whole(kept: Kept) -> None:
    first = kept.deliver(1, ONE)
    kept.deliver(2, TWO)
    store_flow.collect(kept.parts, environments=kept.environments, keep=0)
    refuses(kept, first, MissingError)
    assert kept.deliver(1, ONE) == first
    listed = generation_flow.list_generations(kept.parts)
    assert all(not each.generation.collected_ts for each in listed)
    assert kept.path(ONE["model/a"]).read_bytes() == b"model one"
    assert sha256_of(b"model one") in kept.stored()


def test_after_a_rollback_older_bundles_are_still_refused_and_newer_ones_not(
    host: Host, bundle: Published, tmp_path: Path
) -> None:
    second = next_version(bundle, tmp_path / "second")
    import_bundle(host.parts(), bundle.folder)
    import_bundle(host.parts(), second.folder)
    trust = {name: host.rows()[name] for name in ("trust_file", "trust_floor")}
    change = generation_flow.find_rollback(host.parts(), channel=None)
    generation_flow.activate(
        host.parts(),
        change.after.id,
        reason=Reason.ROLLBACK,
        environments=host.home / "environments",
    )
    assert host.active() == {"main": 1}
    assert {name: host.rows()[name] for name in trust} == trust
    with pytest.raises(RollbackError):
        import_bundle(host.parts(), bundle.folder)
    assert host.active() == {"main": 1}
    import_bundle(host.parts(), second.folder)
    assert host.active() == {"main": 2}
