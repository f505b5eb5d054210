"""The committed corpus is what its script writes, and is as large as it claims."""

import tomllib
from pathlib import Path

from tests.vectors.bundles.corpus import corpus
from tests.vectors.make_bundles import ACCEPT, FOLDER, REJECT, write_vectors


def test_the_script_writes_the_committed_bundles_again(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    for part in (ACCEPT, REJECT):
        made, kept = (files_of(folder / part) for folder in (tmp_path, FOLDER))
        assert sorted(made) == sorted(kept)
        assert [path for path, data in made.items() if kept[path] != data] == []


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_that_are_no_vectors_have_their_codes_beside_them() -> None:
    folder = FOLDER / REJECT / "single-file"
    index = tomllib.loads((folder / "expect.toml").read_text())
    cases = {f"{case.name}.mbundle": case for case in corpus()["single-file"]}
    assert sorted(index) == sorted(path.name for path in folder.glob("*.mbundle"))
    assert {name: each["expect"] for name, each in index.items()} == {
        name: case.code for name, case in cases.items()
    }
    assert {name: each["where"] for name, each in index.items()} == {
        name: case.where for name, case in cases.items()
    }


def test_every_class_of_attack_has_its_cases() -> None:
    counts = {name: len(cases) for name, cases in corpus().items()}
    assert sum(counts.values()) >= 60
    assert min(counts.values()) >= 10
    kinds = {case.name for case in corpus()["models"] if case.name.startswith("gguf-")}
    assert len(kinds) >= 15
