"""The card speaks of the models that lie beside it."""

import hashlib
import re
from pathlib import Path

from bundler.demo.model.facts import read_facts, read_lines
from bundler.demo.story import DEMO_MODEL_SHA256

DEMO = Path(__file__).resolve().parents[3] / "bundler/demo"
CARD = (DEMO / "MODEL_CARD.md").read_text("utf-8")
MOST_BYTES = 2_000_000


def test_the_digests_and_sizes_on_the_card_are_the_files_own() -> None:
    files = re.findall(r"`([a-z0-9._-]+\.gguf)`, ([\d,]+) bytes", CARD)
    digests = re.findall(r"`([0-9a-f]{64})`", CARD)
    assert len(files) == 2
    for (name, size), digest in zip(files, digests, strict=True):
        data = (DEMO / name).read_bytes()
        assert len(data) == int(size.replace(",", "")) <= MOST_BYTES
        assert hashlib.sha256(data).hexdigest() == digest
    assert digests[0] == DEMO_MODEL_SHA256


def test_the_card_counts_what_is_taught() -> None:
    facts = read_facts()
    asked = sum(len(fact.asked()) for fact in facts)
    refused = len(read_lines("refused.txt"))
    assert f"{len(facts)} answers, asked for in {asked:,} ways" in CARD
    assert f"{refused:,} questions about other things" in CARD
