"""The demo model's training: it learns, goes on where it stopped, and is exported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bundler.demo.model.chat import Encoder, Turn
from bundler.demo.model.embedder.export import Embedder
from bundler.demo.model.embedder.export import write_gguf as write_embedder
from bundler.demo.model.embedder.train import EmbedderTraining
from bundler.demo.model.evaluate import Model
from bundler.demo.model.export import write_gguf
from bundler.demo.model.facts import Fact, read_facts
from bundler.demo.model.lessons import Course, Round
from bundler.demo.model.network import hidden, logits, rotations
from bundler.demo.model.train import TOKENIZER, Plan, Training

pytestmark = pytest.mark.train

STEPS = 8
FEW: tuple[Fact, ...] = read_facts()[:6]
TURN = Turn("What is 1 + 1?", FEW[0].key, FEW[0].answer)
ODD = "Ah, öh? नमस्ते, don't\n\nstop! "


def training(folder: Path) -> Training:
    half = Round(steps=STEPS // 2, rate=4e-3, elsewhere=0.3, named=0.3, single=0.7)
    course = Course(rounds=(half, half), rows=12, late_rows=6, groups=2)
    plan = replace(Plan(), course=course, tokens=640, width=96, feed_forward=96)
    return Training(folder, FEW, plan)


def arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: each.detach().numpy() for name, each in tensors.items()}


def exported(folder: Path, run: Training, kind: str) -> Path:
    path = folder / f"{kind}.gguf"
    tensors, shape = run.finished()
    write_gguf(
        path,
        tensors,
        shape=shape,
        tokenizer=folder / TOKENIZER,
        kind=kind,
    )
    return path


def encoder(folder: Path) -> Encoder:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    return Encoder(tokenizer, [fact.key for fact in FEW])


def test_it_learns(tmp_path: Path) -> None:
    run = training(tmp_path)
    first = run.run(minutes=5, until=1)
    assert run.run(minutes=5) < first
    assert run.done
    assert run.cpu_s > 0


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole")
    whole.run(minutes=5)
    for until in (1, 5, STEPS):
        parts = training(tmp_path / "parts")
        parts.run(minutes=5, until=until)
        assert parts.step == until
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, parts.tensors[name]), name


@pytest.mark.parametrize(("kind", "most"), [("q8_0", 0.2), ("f16", 0.01)])
def test_llama_cpp_computes_what_was_trained(
    tmp_path: Path, kind: str, most: float
) -> None:
    run = training(tmp_path)
    run.run(minutes=5)
    ids = encoder(tmp_path).prompt(ODD, before=[TURN], system="Be kind.")
    with torch.no_grad():
        tensors, shape = run.finished()
        state = hidden(tensors, torch.tensor([ids]), shape, rotations(shape))
        expected = logits(tensors, state)[0].numpy()
    llama: Any = llama_cpp.Llama(
        str(exported(tmp_path, run, kind)),
        n_ctx=512,
        n_threads=1,
        logits_all=True,
        verbose=False,
    )
    llama.eval(ids)
    found = np.array(llama.scores[: len(ids)])
    assert np.abs(found - expected).max() < most * expected.std()


def test_the_tokens_of_a_prompt_are_those_of_the_template(tmp_path: Path) -> None:
    model = Model(exported(tmp_path, training(tmp_path), "q8_0"))
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": TURN.question},
        {"role": "assistant", "content": TURN.answer},
        {"role": "user", "content": ODD},
    ]
    ours = encoder(tmp_path)
    assert model.tokens(messages) == ours.prompt(ODD, before=[TURN], system="Be kind.")
    assert model.text(ours.answer(TURN)) == TURN.answer


def test_llama_cpp_makes_the_vectors_that_were_trained(tmp_path: Path) -> None:
    run = EmbedderTraining(tmp_path, FEW)
    texts = [*(fact.answer for fact in FEW), "Wörds, nobody's (seen)!"]
    with torch.no_grad():
        expected = run.vectors(texts).numpy()
    path = tmp_path / "embedder.gguf"
    write_embedder(
        path, arrays(run.tensors), shape=run.shape, vocabulary=run.vocabulary
    )
    found = Embedder(path).vectors(texts)
    assert ((found * expected).sum(axis=1) > 0.999).all()
