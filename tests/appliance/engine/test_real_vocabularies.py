"""Every family with the vocabulary it really has, on random weights.

The vocabularies are those that llama.cpp's sources carry; where they carry none of
a family, it gets one of the same kind. Fetched once, so these tests are slow.
"""

import contextlib
import datetime as dt
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from appliance.engine.embedding import Inputs
from appliance.engine.llama.model import Model
from appliance.engine.llama.parameters import Parameters
from appliance.engine.port import Message, Sampling
from appliance.engine.scheduling.textstream import TextStream
from appliance.engine.supervisor import EngineSupervisor
from appliance.engine.worker.prompt import Prompter
from appliance.engine.worker.template import ChatTemplate
from appliance.errors import ContextLengthError
from appliance.intake.examine import examine_model
from tests.support.demo_engine import hold, together, with_engine
from tests.support.gguf_writer import family, write_model
from tests.support.llama_sources import examples, template, vocabulary

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1_200)]

PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""For vocabularies that come with no template: no control token marks a turn."""

SMALL = Parameters(cells=256, sequences=1, outputs=1, batch_tokens=32, threads=1)
NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
SCRIPTS = (
    "Der Prüfer liest: \u201esicher\u201c \u2014 2\u202f000 €. "
    "\u0905\u0928\u0941\u092e\u0924\u093f \u2713 "
    "\u6d4b\u8bd5 \u1f00\u03b3\u03ac\u03c0\u03b7 "
    "\U0001f512\u200d\U0001f511 \u0645\u0631\u062d\u0628\u0627 \ud55c\uad6d\uc5b4"
)
"""Text of many scripts: accents, conjuncts, ideograms, joined emoji, right to left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A family, the vocabulary it gets, and its chat template.

    ``template`` None is the vocabulary's own, and a name one of llama.cpp's.
    """

    family: str
    vocabulary: str
    template: str | None = PLAIN


WRITERS = (
    Case(
        family="llama",
        vocabulary="llama-bpe",
        template="meta-llama-Llama-3.1-8B-Instruct",
    ),
    Case(family="mistral", vocabulary="llama-spm"),
    Case(family="gemma3", vocabulary="gemma-4", template=None),
    Case(family="phi3", vocabulary="phi-3", template=None),
    Case(family="qwen2", vocabulary="qwen2", template=None),
    Case(family="qwen3", vocabulary="qwen35", template=None),
    Case(family="qwen3moe", vocabulary="qwen2", template=None),
    Case(family="deepseek2", vocabulary="deepseek-llm"),
    Case(family="mamba", vocabulary="gpt-neox"),
    Case(family="granitehybrid", vocabulary="starcoder"),
)
ENCODERS = (
    Case(family="bert", vocabulary="bert-bge", template=None),
    Case(family="bert", vocabulary="nomic-bert-moe", template=None),
)
TOLD = sorted(
    {case.vocabulary for case in (*WRITERS, *ENCODERS)} - {"gpt-neox", "nomic-bert-moe"}
)
"""Vocabularies of which llama.cpp's sources also tell what they make of texts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def written(folder: Path, case: Case) -> Path:
    path = folder / f"{case.family}-{case.vocabulary}.gguf"
    if not path.exists():
        named = case.template not in (None, PLAIN)
        model = family(
            case.family,
            tokenizer=vocabulary(case.vocabulary),
            chat_template=template(str(case.template)) if named else case.template,
            weights="q8_0",
            context=2_048,
        )
        write_model(path, model)
    return path


def names(cases: tuple[Case, ...]) -> list[ParameterSet]:
    return [pytest.param(case, id=f"{case.family}-{case.vocabulary}") for case in cases]


def loaded(folder: Path, case: Case) -> Model:
    return Model(str(written(folder, case)), parameters=SMALL)


@pytest.mark.parametrize("name", TOLD)
def test_texts_have_the_tokens_that_the_family_gives_them(
    folder: Path, name: str
) -> None:
    case = next(c for c in (*WRITERS, *ENCODERS) if c.vocabulary == name)
    model = loaded(folder, case)
    told = examples(name)
    assert len(told) > 30
    for text, tokens in told:
        assert model.tokenize(text, special=False) == tokens, text


@pytest.mark.parametrize("case", names(WRITERS))
def test_text_of_many_scripts_comes_back_and_streams_in_whole_characters(
    folder: Path, case: Case
) -> None:
    model = loaded(folder, case)
    tokens = model.tokenize(SCRIPTS, special=False)
    stream = TextStream()
    shown = [stream.feed(model.piece(token)) for token in tokens]
    text = "".join(shown) + stream.flush()
    # Those of SentencePiece's kind write a space before the first word.
    assert text.removeprefix(" ") == SCRIPTS
    assert "\N{REPLACEMENT CHARACTER}" not in text
    assert len(tokens) > len([piece for piece in shown if piece])


@pytest.mark.parametrize("case", names(WRITERS))
def test_a_message_that_spells_control_tokens_has_none(
    folder: Path, case: Case
) -> None:
    model = loaded(folder, case)
    source = model.chat_template
    assert source is not None
    chat = ChatTemplate(source, bos_token=model.bos_token, eos_token=model.eos_token)
    prompter = Prompter(model, template=chat)
    spellings = model.control_texts()
    assert spellings
    marks = {
        token
        for spelling in spellings
        for token in model.tokenize(spelling, special=True)
        if model.piece(token) == b""
    }
    assert marks

    def marked(content: str) -> list[int]:
        message = Message(role="user", content=content)
        tokens = prompter.tokens((message,), now=NOW, check=lambda _: None)
        return [token for token in tokens if token in marks]

    assert marked("x" + " ".join(spellings[:200]) + "x") == marked("hello")


@pytest.mark.parametrize("case", names(WRITERS))
def test_the_engine_serves_it_in_batches_and_survives_a_text_without_a_space(
    folder: Path, case: Case
) -> None:
    path = written(folder, case)
    facts = examine_model(path, where=case.family)
    assert facts.vocab_size > 30_000
    sampling = Sampling(temperature=1.0, seed=3, max_tokens=40)

    async def run(engine: EngineSupervisor) -> None:
        pid = engine.pid
        for endless in ("\u6d4b" * 60_000, " " * 60_000, "x" * 60_000):
            # A large vocabulary has tokens of many spaces, so some of these fit.
            with contextlib.suppress(ContextLengthError):
                await hold(engine, "endless", text=endless, sampling=sampling)
            await engine.cancel("endless")
        assert engine.pid == pid
        tickets = [
            await hold(engine, f"{n}", text=SCRIPTS * (1 + n), sampling=sampling)
            for n in range(4)
        ]
        for text, last in await together(engine, tickets):
            assert text.encode("utf-8").decode("utf-8") == text
            assert last.usage is not None
            assert 0 < last.usage.completion_tokens <= 40
        stats = await engine.stats()
        assert (stats.running, stats.cells_reserved, stats.preemptions) == (0, 0, 0)

    with_engine(run, model=path, context_tokens=2_048, batch_tokens=128)


@pytest.mark.parametrize("case", names(ENCODERS))
def test_the_engine_embeds_texts_of_many_scripts_alike_alone_and_in_company(
    folder: Path, case: Case
) -> None:
    path = written(folder, case)
    assert examine_model(path, where=case.family).vocab_size > 30_000
    plain = unicodedata.normalize("NFKC", SCRIPTS)
    texts = tuple(plain[start : start + 60] for start in range(0, len(plain), 7))

    async def embed(engine: EngineSupervisor, name: str, *texts: str) -> bytes:
        ticket = await engine.prepare_inputs(
            name, tenant="red", inputs=Inputs(texts=texts), dimensions=None
        )
        parts = [part async for part in engine.embed(ticket)]
        return b"".join(vector for part in parts for vector in part.vectors)

    async def run(engine: EngineSupervisor) -> None:
        with pytest.raises(ContextLengthError):
            await embed(engine, "endless", "word " * 100_000)
        together = await embed(engine, "all", *texts)
        alone = [await embed(engine, f"{n}", text) for n, text in enumerate(texts)]
        apart = np.frombuffer(together, "<f4") - np.frombuffer(b"".join(alone), "<f4")
        assert np.abs(apart).max() < 1e-2

    with_engine(run, model=path)
