"""A host of the corpus: it trusts one publisher, and has version 2 of its channel."""

from pathlib import Path

import pytest

from tests.support.corpus_host import CorpusHost, new_corpus_host
from tests.vectors.bundles.estate import ACTIVE, bundle, root
from tests.vectors.bundles.forms import write_folder


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good bundle, in a folder."""
    return write_folder(bundle(), tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> CorpusHost:
    """A host that nothing is imported into, but copied from."""
    folder = tmp_path_factory.mktemp("template")
    host = new_corpus_host(folder / "home", root())
    host.import_(write_folder(bundle(version=ACTIVE), folder / "active"))
    return host


@pytest.fixture(scope="session")
def tried(template: CorpusHost, tmp_path_factory: pytest.TempPathFactory) -> CorpusHost:
    """A host that is given one hostile bundle after the other."""
    return template.copy(tmp_path_factory.mktemp("tried") / "home")


@pytest.fixture
def host(template: CorpusHost, tmp_path: Path) -> CorpusHost:
    """A host of one test's own."""
    return template.copy(tmp_path / "home")
