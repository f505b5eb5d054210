"""Models from a hub: refusals first, then what is downloaded, and what is told."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from bundleformat.errors import (
    ConflictError,
    DigestMismatchError,
    Error,
    LimitExceededError,
    MissingError,
)
from bundler.errors import AccessDeniedError, HubFaultError, SpecError
from bundler.sources import hub_download
from bundler.sources.hugging_face import locate
from bundler.sources.located import OnDisk, OnHub
from bundler.sources.wanted import HubFile
from tests.support.hub_server import COMMIT, REPO, Hub, serving

pytestmark = [pytest.mark.system, pytest.mark.enable_socket]

DATA = bytes(range(256)) * 4_096
TOKEN = "hf_do_not_tell"  # noqa: S105 - of a test


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "library"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving(Hub(files={"tiny.gguf": DATA, "README.md": b"#"})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        yield hub
    close_session()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def source(file: str = "tiny.gguf", **changed: str) -> HubFile:
    return replace(HubFile(repo=REPO, revision=COMMIT, file=file), **changed)


def located(file: str = "tiny.gguf", **changed: str) -> OnHub:
    found = locate(source(file, **changed)).files[0]
    assert isinstance(found, OnHub)
    return found


def fetch(cache: Path, wanted: OnHub | None = None) -> tuple[OnDisk, int]:
    counted: list[int] = []
    file = hub_download.fetch(wanted or located(), cache=cache, progress=counted.append)
    return file, sum(counted)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_what_the_hub_does_not_have_is_missing(hub: Hub) -> None:
    for changed in (
        {"repo": "maker/other"},
        {"revision": "f" * 40},
        {"file": "none.gguf"},
    ):
        with pytest.raises(MissingError):
            locate(replace(source(), **changed))
    assert hub.paths("GET")


@pytest.mark.parametrize("way", ["gated", "token", "forbidden"])
def test_what_the_hub_does_not_give_is_told_without_a_secret(
    hub: Hub, way: str
) -> None:
    hub.gated, hub.status = way == "gated", 403 if way == "forbidden" else 0
    hub.token = "another" if way == "token" else ""
    with pytest.raises(AccessDeniedError) as caught:
        locate(source())
    assert caught.value.where == f"hf:{REPO}"
    _assert_secretless(caught.value, hub)


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_that_fails_is_a_fault(hub: Hub, status: int) -> None:
    hub.status = status
    with pytest.raises(HubFaultError) as caught:
        locate(source())
    assert caught.value.actual == f"status {status}"


@pytest.mark.parametrize(
    "listing", [b"<html>", b"[]", b"{}", b'{"id":"x","siblings":7}']
)
def test_an_endpoint_that_is_no_hub_is_a_fault(hub: Hub, listing: bytes) -> None:
    hub.listing = listing
    with pytest.raises(HubFaultError):
        locate(source())


def test_a_hub_that_answers_for_another_commit_is_not_believed(hub: Hub) -> None:
    hub.sha = "e" * 40
    with pytest.raises(HubFaultError) as caught:
        locate(source())
    assert (caught.value.expected, caught.value.actual) == (COMMIT, repr("e" * 40))


def test_a_network_that_is_down_is_a_fault(hub: Hub) -> None:
    with pytest.raises(HubFaultError):
        locate(source(endpoint="http://127.0.0.1:9"))
    assert hub.requests == []


def test_a_file_without_a_stated_digest_is_refused(hub: Hub) -> None:
    hub.plain.add("tiny.gguf")
    with pytest.raises(SpecError):
        locate(source())


def test_a_stated_digest_that_is_none_is_refused(hub: Hub) -> None:
    value = json.loads(hub.model_info())
    value["siblings"][0]["lfs"]["sha256"] = "../../etc/passwd"
    hub.listing = json.dumps(value).encode()
    with pytest.raises(Error) as caught:
        locate(source())
    assert caught.value.code == "malformed"


def test_bytes_that_are_not_those_stated_are_refused_and_not_kept(
    hub: Hub, cache: Path
) -> None:
    hub.served["tiny.gguf"] = DATA[:-1] + b"!"
    with pytest.raises(DigestMismatchError) as caught:
        fetch(cache)
    assert caught.value.where == f"hf:{REPO}@{COMMIT}/tiny.gguf"
    assert names(cache) == []


def test_more_bytes_than_stated_are_refused(hub: Hub, cache: Path) -> None:
    hub.served["tiny.gguf"] = DATA + b"more"
    with pytest.raises(Error):
        fetch(cache)
    assert not (cache / located().sha256).exists()


@pytest.mark.usefixtures("hub")
def test_a_file_too_large_for_plain_http_is_refused_at_once(cache: Path) -> None:
    with pytest.raises(LimitExceededError):
        fetch(cache, replace(located(), size_bytes=hub_download.MAX_BYTES + 1))
    assert names(cache) == []


def test_another_build_that_downloads_the_same_file_is_not_disturbed(
    hub: Hub, cache: Path
) -> None:
    wanted = located()
    with (
        hub_download._partial(cache / wanted.sha256),
        pytest.raises(ConflictError),
    ):
        fetch(cache, wanted)
    assert len(hub.paths("GET")) == 1


@pytest.mark.usefixtures("hub")
def test_a_download_is_whole_and_counted_and_kept(cache: Path) -> None:
    file, counted = fetch(cache)
    assert file.path.read_bytes() == DATA
    assert file.sha256 == hashlib.sha256(DATA).hexdigest()
    assert counted == len(DATA)
    assert names(cache) == [file.sha256]


def test_what_is_in_the_cache_is_not_downloaded_again(hub: Hub, cache: Path) -> None:
    first, _ = fetch(cache)
    wanted = located()
    asked = len(hub.requests)
    again, counted = fetch(cache, wanted)
    assert (again, counted) == (first, len(DATA))
    assert len(hub.requests) == asked


def test_a_download_goes_on_where_it_ended(hub: Hub, cache: Path) -> None:
    wanted = located()
    cache.mkdir()
    (cache / f"{wanted.sha256}.partial").write_bytes(DATA[:1_000])
    file, counted = fetch(cache, wanted)
    assert file.path.read_bytes() == DATA
    assert counted == len(DATA)
    assert hub.requests[-1].range == "bytes=1000-"
    assert names(cache) == [wanted.sha256]


def test_a_connection_that_breaks_is_taken_up_again(hub: Hub, cache: Path) -> None:
    hub.cut_after = 300_000
    file, counted = fetch(cache)
    assert file.path.read_bytes() == DATA
    assert counted == len(DATA)
    assert hub.paths("GET").count("/cdn/tiny.gguf") == 2
    assert names(cache) == [file.sha256]


def test_a_partial_file_of_other_bytes_is_refused_and_removed(
    hub: Hub, cache: Path
) -> None:
    wanted = located()
    cache.mkdir()
    (cache / f"{wanted.sha256}.partial").write_bytes(b"x" * 1_000)
    with pytest.raises(DigestMismatchError):
        fetch(cache, wanted)
    assert names(cache) == []
    file, _ = fetch(cache, wanted)
    assert file.path.read_bytes() == DATA
    assert hub.files["tiny.gguf"] == DATA


def test_a_partial_file_that_is_too_long_is_begun_anew(hub: Hub, cache: Path) -> None:
    wanted = located()
    cache.mkdir()
    (cache / f"{wanted.sha256}.partial").write_bytes(DATA + b"more")
    file, _ = fetch(cache, wanted)
    assert file.path.read_bytes() == DATA
    assert hub.requests[-1].range == ""


def test_what_the_library_has_in_its_own_cache_is_used(
    hub: Hub, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "library" / "models--maker--tiny-GGUF" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(DATA)
    file, counted = fetch(cache)
    assert file.path == folder / "tiny.gguf"
    assert counted == len(DATA)
    assert names(cache) == []
    assert len(hub.paths("GET")) == 1


def test_all_parts_of_a_split_model_are_found(hub: Hub) -> None:
    parts = [f"q8/tiny-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    hub.files = {name: name.encode() for name in parts}
    found = locate(source(parts[0]))
    assert [file.file.file for file in found.files if isinstance(file, OnHub)] == parts
    assert found.origin == f"hf:{REPO}@{COMMIT}/{parts[0]}"
    del hub.files[parts[1]]
    with pytest.raises(MissingError) as caught:
        locate(source(parts[0]))
    assert caught.value.where.endswith(parts[1])
    with pytest.raises(SpecError):
        locate(source(parts[1]))


def test_the_licence_of_the_model_card_is_noted(hub: Hub) -> None:
    assert locate(source()).notes == ()
    hub.licence = "apache-2.0"
    assert any("apache-2.0" in note for note in locate(source()).notes)


def test_the_token_goes_to_this_machines_hub_alone(hub: Hub, cache: Path) -> None:
    fetch(cache)
    sent = {each.host: each.authorization for each in hub.requests}
    assert sent == {
        f"127.0.0.1:{hub.port}": f"Bearer {TOKEN}",
        f"localhost:{hub.port}": "",
    }


def test_an_endpoint_that_a_spec_names_is_sent_no_token(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    fetch(cache, located(endpoint=hub.url))
    assert {each.authorization for each in hub.requests} == {""}
    assert len(hub.requests) == 3


def _assert_secretless(error: Error, hub: Hub) -> None:
    told = f"{error.text()} {error.hint}"
    assert TOKEN not in told
    assert hub.url not in told
