"""Settings: finite defaults, named mistakes, and the README's table of them."""

from pathlib import Path

import pytest

from appliance.settings import (
    DEFAULT_HOME,
    EngineSettings,
    Settings,
    engine_threads,
    home_folder,
    read_settings,
)
from bundleformat.errors import MalformedError
from tests.support.narration import SETTINGS_BEGIN, readme, settings_table


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[engine", "sallyport.toml"),
        ("[engine]\ncels = 1\n", "engine.cels"),
        ("[engine]\ncells = 0\n", "engine.cells"),
        ("[engine]\ncells = true\n", "engine.cells"),
        ("[server]\nport = 70000\n", "server.port"),
        ("[server]\nbody_bytes = -1\n", "server.body_bytes"),
        ("[models]\nresident = 0\n", "models.resident"),
        ("[models]\nresident = 1\npinned = ['a', 'b']\n", "models"),
        ("[policy]\nenabled = false\n", "policy"),
    ],
)
def test_a_mistake_is_refused_and_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "sallyport.toml").write_text(text)
    with pytest.raises(MalformedError) as caught:
        read_settings(tmp_path)
    assert named in caught.value.text()


def test_a_home_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sallyport.toml").write_text("[engine]\nsequences = 3\n")
    assert read_settings(tmp_path).engine.sequences == 3


def test_the_home_is_the_one_named_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SALLYPORT_HOME", raising=False)
    assert home_folder(None) == DEFAULT_HOME
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path))
    assert home_folder(None) == tmp_path
    assert home_folder(Path("other")) == Path("other")


def test_one_core_is_left_to_the_gateway() -> None:
    assert engine_threads(EngineSettings(threads=5)) == 5
    assert engine_threads(EngineSettings()) >= 1


def test_every_setting_is_described_in_the_readme() -> None:
    shown = readme().partition(SETTINGS_BEGIN)[2].partition("<!-- settings:end")[0]
    assert shown == settings_table()
    assert "None" not in shown
