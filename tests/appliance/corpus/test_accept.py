"""Every bundle that a host must take: whole, from an untouched medium, and no more."""

from pathlib import Path

import pytest

from appliance.import_steps.host import Observer, Step
from bundleformat.digest import sha256_of
from bundleformat.manifest import Manifest
from tests.appliance.corpus.playing import Watch
from tests.support.corpus_host import CorpusHost, tree
from tests.vectors.bundles.accepted import Good, accepted
from tests.vectors.bundles.case import Media
from tests.vectors.make_bundles import ACCEPT, FOLDER

EVERY = [
    pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.slow else [])
    for each in accepted()
]
GENUINE = [pytest.param(each, id=each.name) for each in accepted() if each.genuine]

PLACES = {"store", "environments"}
"""Where in a home something new may lie after an import."""


def media_of(good: Good, folder: Path) -> Media:
    """Return the media: the committed file, or what is made."""
    if good.data is not None:
        return (FOLDER / ACCEPT / f"{good.name}{good.suffix}",)
    return good.make(folder)


@pytest.mark.parametrize("case", EVERY)
def test_a_good_bundle_is_imported_whole_and_nothing_more(
    host: CorpusHost, tmp_path: Path, case: Good
) -> None:
    (tmp_path / "media").mkdir()
    media = media_of(case, tmp_path / "media")
    watch = Watch(swap=case.swap, medium=media[0])
    before, around = host.standing().files, tree(media[0].parent)
    done = host.import_(*media, observer=Observer(on_step=watch.on_step))
    assert watch.steps[-1] is Step.DONE
    assert host.active() == [("main", case.version)]
    if case.swap is None:
        assert tree(media[0].parent) == around
    after = host.standing().files
    assert {path: after[path] for path in before} == before
    assert {path.split("/")[0] for path in after.keys() - before.keys()} <= PLACES
    check_stored(host, done.bundle.manifest)
    (receipt,) = (
        each
        for each in host.records()[-1:]
        if each["event"] in {"bundle.imported", "trust.updated"}
    )
    assert receipt["channel"] == "main"


def check_stored(host: CorpusHost, manifest: Manifest) -> None:
    """Check that the store holds what ``manifest`` lists, byte for byte."""
    for artifact in manifest.artifacts:
        stored = host.home / "store" / "sha256" / artifact.sha256
        assert sha256_of(stored.read_bytes()) == artifact.sha256


@pytest.mark.parametrize("case", GENUINE)
def test_whatever_the_good_bundle_looked_like_it_is_known_again(
    host: CorpusHost, good: Path, tmp_path: Path, case: Good
) -> None:
    # Nobody may make a medium whose import keeps out the publisher's own.
    (tmp_path / "media").mkdir()
    media = media_of(case, tmp_path / "media")
    watch = Watch(swap=case.swap, medium=media[0])
    host.import_(*media, observer=Observer(on_step=watch.on_step))
    before = host.standing()
    again = host.import_(good)
    assert (again.already_active, again.trust_updated) == (True, False)
    assert host.standing() == before
