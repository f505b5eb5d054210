"""The demo model's training: it learns, goes on where it stopped, and is exported."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from bundler.demo.model import __main__ as command
from bundler.demo.model.chat import Encoder, Turn
from bundler.demo.model.embedder.export import Embedder
from bundler.demo.model.embedder.export import write_gguf as write_embedder
from bundler.demo.model.embedder.train import EmbedderTraining
from bundler.demo.model.evaluate import Model
from bundler.demo.model.export import write_gguf
from bundler.demo.model.facts import Fact, read_facts
from bundler.demo.model.lessons import Course
from bundler.demo.model.network import hidden, logits, pack, rotations
from bundler.demo.model.review import Review, own_beginnings
from bundler.demo.model.rows import Row, in_groups
from bundler.demo.model.sheet import sheet
from bundler.demo.model.train import TOKENIZER, Plan, Training

pytestmark = pytest.mark.train

STEPS = 8
FEW: tuple[Fact, ...] = read_facts()[:6]
TURN = Turn("What is 1 + 1?", FEW[0].key, FEW[0].answer)
ODD = "Ah, öh? नमस्ते, don't\n\nstop! "


def training(folder: Path) -> Training:
    course = Course(steps=STEPS, questions=12, single=0.5, reviews=(0.3, 0.7))
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


def test_progress_says_the_step_and_the_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SAID_EVERY_S", 0)
    run = training(tmp_path)
    run.run(minutes=5, after=command.Progress(run).after)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == STEPS
    assert re.fullmatch(
        r"Training: step 1 of 8, loss \d+\.\d{4}, \d minutes left", lines[0]
    )


def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole")
    whole.run(minutes=5)
    for until in (1, 5, STEPS):
        parts = training(tmp_path / "parts")
        parts.run(minutes=5, until=until)
        assert parts.step == until
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, parts.tensors[name]), name
    assert whole.noted == parts.noted
    assert whole.noted["doubtful"]


def test_a_row_is_computed_alike_alone_and_beside_longer_ones(tmp_path: Path) -> None:
    run = training(tmp_path)
    turns = rotations(run.shape)
    rows = [[5, 6, 7], [8, 9, 10, 11], list(range(20, 40)), [3] * 17]

    def states(groups: list[list[list[int]]], by: int, whole: int) -> list[Any]:
        batch = pack(groups, by=by, whole=whole)
        with torch.no_grad():
            state = hidden(run.tensors, batch, run.shape, turns)
        found, at = [], 0
        for group, (_, length) in zip(groups, batch.blocks, strict=True):
            for row in group:
                found.append(state[at : at + len(row)])
                at += length
        return found

    together = states([rows[:2], rows[2:]], by=4, whole=128)
    for row, state in zip(rows, together, strict=True):
        (alone,) = states([[row]], by=1, whole=1)
        assert torch.allclose(alone, state, atol=1e-5)


def test_a_sheet_wants_every_token_of_an_answer() -> None:
    rows = [
        Row([1, 2, 3, 4, 5], [range(2, 5)], 4.0),
        Row(list(range(10, 30)), [range(5, 7), range(18, 20)]),
    ]
    each = sheet(in_groups(rows))
    asked = each.batch.tokens[each.wanted].tolist()
    assert sum(each.counts) == 7
    assert asked[:7] == [2, 3, 4, 14, 15, 27, 28]
    assert each.following.tolist()[:7] == [3, 4, 5, 15, 16, 28, 29]
    assert each.weights.tolist() == [4.0, *(1.0,) * 6, *(0.0,) * 121]
    guessed = torch.zeros(128, 40)
    guessed[torch.arange(128), each.following] = 3.0
    guessed[3, 0] = 2.5
    assert each.least(guessed) == [3.0, 0.5]


def test_an_answer_is_told_apart_by_its_beginning() -> None:
    answers = [(1, 2, 3), (1, 2, 4, 5), (7, 8), (1, 9)]
    own = own_beginnings([*answers, (7, 8)])
    assert own == {(1, 2, 3): 3, (1, 2, 4, 5): 3, (7, 8): 1, (1, 9): 2}


def test_a_review_doubts_what_is_wrong_or_only_just_right(tmp_path: Path) -> None:
    training(tmp_path)
    words = encoder(tmp_path)
    turns = [Turn("What is it?", fact.key, fact.answer) for fact in FEW]
    review = Review(turns, words)

    def guess(each: Any, lead: float) -> Any:
        guessed = torch.zeros(len(each.following), words.tokens)
        guessed[torch.arange(len(guessed)), each.following] = lead
        return guessed

    everything = list(range(len(turns)))
    assert review.doubtful(lambda each: guess(each, 3.0)) == []
    assert review.doubtful(lambda each: guess(each, 1.0)) == everything
    assert review.doubtful(lambda each: guess(each, -1.0)) == everything


@pytest.mark.parametrize(("kind", "most"), [("q8_0", 0.2), ("f16", 0.01)])
def test_llama_cpp_computes_what_was_trained(
    tmp_path: Path, kind: str, most: float
) -> None:
    run = training(tmp_path)
    run.run(minutes=5)
    ids = encoder(tmp_path).prompt(ODD, before=[TURN], system="Be kind.")
    with torch.no_grad():
        tensors, shape = run.finished()
        state = hidden(tensors, pack([[ids]]), shape, rotations(shape))
        expected = logits(tensors, state).numpy()
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
