"""``make demo``: it plays, its narration is the README's, and it says when it fails."""

import re
import shutil
from pathlib import Path

from tests.support.gguf_writer import TinyModel, write_model
from tests.support.narration import (
    excerpts_of,
    masked,
    narration_of,
    play,
    readme,
    step_of,
)


def scratch_folder(output: str) -> Path:
    found = re.search(r"/\S*sallyport-demo-[a-z0-9_]{8}", output)
    assert found is not None
    return Path(found.group())


def processes_in(folder: Path) -> list[str]:
    """The processes whose current folder is ``folder`` or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve().is_relative_to(
                folder
            ):
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_the_narration_in_the_readme_is_the_real_output() -> None:
    done = play()
    folder = scratch_folder(done.stdout)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert masked(done.stdout) == masked(narration_of(readme()))
        assert processes_in(folder) == []
    finally:
        shutil.rmtree(folder)


def test_what_the_first_screen_shows_is_whole_steps_of_the_narration() -> None:
    text = readme()
    excerpts = excerpts_of(text.partition("<!-- demo:begin -->")[0])
    assert len(excerpts) >= 3
    for number, shown in excerpts:
        assert masked(shown) == masked(step_of(narration_of(text), number))


def test_it_plays_with_a_model_of_another_architecture(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "My Qwen.gguf", TinyModel(architecture="qwen2", context=1024)
    )
    done = play(str(model))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my-qwen" in done.stdout
    shutil.rmtree(scratch_folder(done.stdout))


def test_a_file_that_is_no_model_stops_it_with_a_reason(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(60))
    done = play(str(bad))
    assert done.returncode == 1
    assert "refused: malformed" in done.stdout
    assert "The demo stopped" in done.stderr
    shutil.rmtree(scratch_folder(done.stdout))


def test_wrong_arguments_are_a_usage_error() -> None:
    assert play("no-such-file.gguf").returncode == 2
