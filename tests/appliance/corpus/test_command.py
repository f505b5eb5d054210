"""Some hostile bundles, given to the command itself: its exit status and its words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance.corpus.playing import is_at
from tests.appliance.corpus.test_reject import media_of
from tests.support.corpus_host import CorpusHost
from tests.vectors.bundles.case import Case
from tests.vectors.bundles.corpus import corpus
from tests.vectors.bundles.estate import NEXT

CHOSEN = (
    "links/chunk-fifo",
    "chunks/sparse-1-tib",
    "signatures/strangers-bundle-under-the-known-root",
    "names/path-that-has-an-escape",
    "single-file/entry-symbolic-link",
    "models/model-that-aborts-llama-cpp",
)

LIMIT_S = 60


def command(host: CorpusHost, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``sallyport`` on a host."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        env={**os.environ, "SALLYPORT_HOME": str(host.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def chosen(whole: str) -> tuple[str, Case]:
    """Return class and case of that name."""
    name, _, own = whole.partition("/")
    (found,) = (case for case in corpus()[name] if case.name == own)
    return name, found


@pytest.fixture(scope="module")
def told(template: CorpusHost, tmp_path_factory: pytest.TempPathFactory) -> CorpusHost:
    """A host on which it is today, unlike on the others: its ledger tells."""
    return template.copy(tmp_path_factory.mktemp("told") / "home")


@pytest.mark.parametrize("whole", CHOSEN)
def test_the_command_refuses_it_with_its_status_and_code(
    told: CorpusHost, tmp_path: Path, whole: str
) -> None:
    name, case = chosen(whole)
    media = media_of(name, case, tmp_path)
    before, length = told.standing(), told.length()
    done = command(told, "bundle", "import", *map(str, media), "--json")
    assert (done.returncode, done.stdout) == (case.status, "")
    lines = done.stderr.splitlines()
    assert all(line.isprintable() for line in lines)
    # Between them llama.cpp may have had its own last words.
    *events, last = (json.loads(line) for line in lines if line.startswith("{"))
    assert last["error"]["code"] == case.code
    assert is_at(last["error"]["where"], case.where)
    assert [each["step"] for each in events if each["event"] == "step"][-1] == case.step
    assert told.standing() == before
    refusal = told.records(after=length)[-1]
    assert (refusal["event"], refusal["code"]) == ("bundle.refused", case.code)


def test_the_command_imports_the_good_bundle_after_a_refusal(
    host: CorpusHost, good: Path, tmp_path: Path
) -> None:
    name, case = chosen(CHOSEN[0])
    media = media_of(name, case, tmp_path)
    assert command(host, "bundle", "import", str(media[0])).returncode == 3
    done = command(host, "bundle", "import", str(good))
    assert (done.returncode, done.stderr) == (0, "")
    assert host.active() == [("main", NEXT)]
