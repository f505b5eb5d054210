"""Every hostile bundle: refused with its code at its step, and nothing is left.

The import is the one of the command line, on a commissioned host with its database,
confined examiners, Cedar, pip and llama.cpp.
"""

from pathlib import Path

import pytest

from tests.appliance.corpus.playing import make, refuse
from tests.support.corpus_host import CorpusHost
from tests.support.iso_bytes import iso_image
from tests.vectors.bundles.case import Case, Media
from tests.vectors.bundles.corpus import CLASSES, corpus
from tests.vectors.bundles.estate import NEXT, Files
from tests.vectors.bundles.forms import single_file, write_folder
from tests.vectors.bundles.vector import decode
from tests.vectors.make_bundles import FOLDER, committed


def every(*, files: bool = False) -> list[object]:
    """Return all cases as parameters, or those of files that can lie anywhere."""
    return [
        pytest.param(
            name,
            case,
            id=f"{name}/{case.name}",
            marks=[pytest.mark.slow] if case.slow else [],
        )
        for name, cases in corpus().items()
        for case in cases
        if case.files is not None or not files
    ]


def media_of(name: str, case: Case, folder: Path) -> Media:
    """Return the media of a case: the committed file, or what is made of it."""
    place = committed(name, case)
    if place is None:
        return make(case, folder)
    if case.data is not None:
        return (FOLDER / place,)
    expected, files = decode((FOLDER / place).read_bytes())
    assert expected == {
        "expect": case.code,
        "step": case.step,
        "where": case.where,
    }
    return lying(files, folder / "medium.mbundle")


def lying(files: Files, place: Path) -> Media:
    """Return a medium that holds ``files``, in the form that its name says."""
    match place.suffix:
        case ".mbundle":
            place.write_bytes(single_file(files))
        case ".iso":
            place.write_bytes(iso_image(files).data)
        case _:
            write_folder(files, place)
    return (place,)


@pytest.mark.parametrize(("name", "case"), every())
def test_a_hostile_bundle_is_refused_and_nothing_is_left(
    tried: CorpusHost, tmp_path: Path, name: str, case: Case
) -> None:
    refuse(tried, case, media_of(name, case, tmp_path))


@pytest.mark.parametrize("name", CLASSES)
def test_after_refusals_of_a_class_the_good_bundle_is_imported(
    host: CorpusHost, good: Path, tmp_path: Path, name: str
) -> None:
    cases = [case for case in corpus()[name] if not case.slow]
    for number, case in enumerate((cases[0], cases[len(cases) // 2], cases[-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        refuse(host, case, media_of(name, case, folder))
    done = host.import_(good)
    assert not done.already_active
    assert host.active() == [("main", NEXT)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), every())
def test_after_any_refusal_the_good_bundle_is_imported(
    host: CorpusHost, good: Path, tmp_path: Path, name: str, case: Case
) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    refuse(host, case, media_of(name, case, folder))
    host.import_(good)
    assert host.active() == [("main", NEXT)]


@pytest.mark.slow
@pytest.mark.parametrize("medium", ["medium", "medium.iso"])
@pytest.mark.parametrize(("_", "case"), every(files=True))
def test_it_is_refused_in_any_form(
    tried: CorpusHost, tmp_path: Path, _: str, case: Case, medium: str
) -> None:
    assert case.files is not None
    refuse(tried, case, lying(case.files(), tmp_path / medium))
