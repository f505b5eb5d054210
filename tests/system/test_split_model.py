"""A model in parts is imported, served, and answers as the whole one does."""

from pathlib import Path

import pytest

from tests.support.gguf_writer import TinyModel, write_model, write_split_model
from tests.support.real_host import commission, serving

SETTINGS = """\
[engine]
threads = 1
context_tokens = 256
cells = 512
sequences = 2
default_max_tokens = 24
"""

MODEL = TinyModel(architecture="qwen2", layers=3, seed=5)


def test_a_split_model_is_imported_and_answers_as_the_whole(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.gguf", MODEL)
    parts = write_split_model(tmp_path / "split.gguf", MODEL, tensors=9)
    host = commission(
        tmp_path / "host",
        models=[("whole", whole), ("split", parts[0])],
        settings=SETTINGS,
    )
    with serving(host):
        client = host.client()
        assert {model.id for model in client.models.list()} == {"split", "whole"}
        texts = [
            client.chat.completions.create(
                model=name,
                messages=[{"role": "user", "content": "hello tree"}],
                temperature=0,
            )
            .choices[0]
            .message.content
            for name in ("whole", "split")
        ]
    assert texts[0] == texts[1]
    assert texts[0]


def test_a_part_that_decays_in_the_store_keeps_the_model_from_being_served(
    tmp_path: Path,
) -> None:
    parts = write_split_model(tmp_path / "split.gguf", MODEL, tensors=9)
    host = commission(
        tmp_path / "host", models=[("split", parts[0])], settings=SETTINGS
    )
    last = parts[-1].read_bytes()
    stored = next(
        path
        for path in (host.home / "store").rglob("*")
        if path.is_file() and path.read_bytes() == last
    )
    stored.chmod(0o644)
    stored.write_bytes(last[:-1] + bytes([last[-1] ^ 1]))
    with pytest.raises(AssertionError) as caught:
        host.start()
    assert "digest-mismatch" in str(caught.value)
