"""``python -m bundler.demo.model``: train in slices, export, and ask what came out."""

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from bundler.demo.canaries import write_canaries
from bundler.demo.model.facts import read_facts, read_unseen

MORE_TO_DO = 75
"""Exit status of a slice that is not the last. Source: sysexits.h, EX_TEMPFAIL."""

SHOWN = 40
"""Wrong answers that are shown of each kind of question."""

SAID_EVERY_S = 20
"""Time between two lines that say how far a training is."""

WRITER, EMBEDDER = "sallyport-demo", "sallyport-demo-embedder"


def main() -> int:
    """Do one part of the way from text to GGUF; return the exit status."""
    parser = ArgumentParser(prog="python -m bundler.demo.model", description=__doc__)
    parser.add_argument("what", choices=("train", "export", "ask"))
    parser.add_argument("folder", type=Path, help="where all of it lies")
    parser.add_argument("--minutes", type=float, default=4.0, help="of one slice")
    chosen = parser.parse_args()
    if chosen.what == "train":
        return _train(chosen.folder, minutes=chosen.minutes)
    return (_export if chosen.what == "export" else _ask)(chosen.folder)


def _train(folder: Path, *, minutes: float) -> int:
    """Go on with the first model that is not done; say how far it is."""
    for training in _trainings(folder):
        if not training.done:
            progress = Progress(training)
            progress.say(training.run(minutes=minutes, after=progress.after))
            print(f"{training.cpu_s:.0f} CPU seconds in all so far", flush=True)
            return MORE_TO_DO
    return 0


class Progress:
    """Says now and then how far a training is."""

    def __init__(self, training: Any) -> None:
        self._training = training
        self._first = training.step
        self._begun = self._said = time.monotonic()

    def after(self, loss: float) -> None:
        """Say it, unless that was a moment ago."""
        if time.monotonic() - self._said >= SAID_EVERY_S:
            self.say(loss)

    def say(self, loss: float) -> None:
        """Say which step it is, the loss, and about how long the others take."""
        training = self._training
        self._said = time.monotonic()
        pace = (self._said - self._begun) / max(1, training.step - self._first)
        left = pace * (training.steps - training.step)
        print(
            f"{type(training).__name__}: step {training.step:,} of {training.steps:,}, "
            f"loss {loss:.4f}, {left / 60:.0f} minutes left",
            flush=True,
        )


def _export(folder: Path) -> int:
    """Write what is done so far as GGUF: the writer twice, and the embedder."""
    from bundler.demo.model import export  # noqa: PLC0415
    from bundler.demo.model.embedder.export import write_gguf  # noqa: PLC0415
    from bundler.demo.model.train import TOKENIZER  # noqa: PLC0415

    writer, embedder = _trainings(folder)
    tensors, shape = writer.finished()
    for kind in export.KINDS:
        path = folder / f"{WRITER}.{kind}.gguf"
        words = folder / TOKENIZER
        export.write_gguf(path, tensors, shape=shape, tokenizer=words, kind=kind)
    write_gguf(
        folder / f"{EMBEDDER}.q8_0.gguf",
        embedder.finished(),
        shape=embedder.shape,
        vocabulary=embedder.vocabulary,
    )
    for path in sorted(folder.glob("*.gguf")):
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _trainings(folder: Path) -> tuple[Any, Any]:
    """Return the two runs; only this needs PyTorch."""
    from bundler.demo.model.embedder.train import EmbedderTraining  # noqa: PLC0415
    from bundler.demo.model.train import Plan, Training  # noqa: PLC0415

    facts = read_facts()
    return Training(folder, facts, Plan()), EmbedderTraining(folder, facts)


def _ask(folder: Path) -> int:
    """Ask everything; the status is 1 if a figure is below what the card says."""
    from bundler.demo.model.embedder.export import Embedder, ranked_first  # noqa: PLC0415
    from bundler.demo.model.evaluate import (  # noqa: PLC0415  # llama.cpp
        Model,
        canaries,
        scores,
    )

    def say(line: str) -> None:
        print(line, flush=True)

    facts = read_facts()
    answers = {fact.key: fact.answer for fact in facts}
    enough = True
    for kind in ("f16", "q8_0"):
        say(kind)
        model = Model(folder / f"{WRITER}.{kind}.gguf")
        write_canaries(folder / f"canaries.{kind}.jsonl", canaries(model, facts))
        for score in scores(model, facts, say=say):
            enough = enough and score.enough
            for question, given in score.wrong[:SHOWN]:
                say(f"   {score.name}: {question} -> {given}")
    embedder = Embedder(folder / f"{EMBEDDER}.q8_0.gguf")
    known = [(asked, fact.answer) for fact in facts for asked in fact.questions]
    unseen = [(question, answers[key]) for question, key in read_unseen()]
    for name, pairs in (("written", known), ("unseen", unseen)):
        first = ranked_first(embedder, pairs, tuple(answers.values()))
        say(f"{name} questions nearest to their own answer: {first} of {len(pairs)}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
