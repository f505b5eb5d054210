"""Hostile models in bundles that are signed as they should be.

The signature says who sent a model, not that it is harmless. The first are the
files of ``reject/gguf``, each of which is also a test of the reader alone; then
chat templates that escape, grow or never end; then models that only llama.cpp
itself finds fault with, one of which ends the process that loads it.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.artifact import ModelTerms
from bundleformat.digest import sha256_of
from bundleformat.gguf_split import part_name
from tests.support.gguf_bytes import RawGguf, text
from tests.support.gguf_writer import (
    TinyModel,
    write_model,
    write_split_model,
)
from tests.vectors.bundles.case import (
    LIMIT,
    MALFORMED,
    PROBE_DIED,
    UNLOADABLE,
    Case,
    of_made,
)
from tests.vectors.bundles.estate import Delivery, Files, bundle
from tests.vectors.make_gguf import rejected

PATH: Final = "models/evil.gguf"

TERMS: Final = ModelTerms(
    licence="Apache-2.0",
    origin="made for a test",
    allowed_regions=("in-blr",),
    architecture="llama",
    context_length=64,
)
"""What is said of a model, and true unless a case is about that."""

SMALLEST: Final = TinyModel(
    weights="q8_0",
    layers=1,
    embedding=32,
    heads=1,
    kv_heads=1,
    feed_forward=32,
    context=64,
)
"""A model that llama.cpp loads, of 50 kB."""

USUAL: Final = frozenset(
    {
        "array-2-to-61",
        "big-endian",
        "block-count-100000",
        "cut-in-header",
        "key-escape",
        "key-twice",
        "magic",
        "pair-count-2-to-60",
        "split",
        "string-2-to-63",
        "string-past-end",
        "tensor-count-2-to-60",
        "tensor-dimension-0",
        "tensor-int64-max",
        "tensor-name-zero-byte",
        "tensor-offset-max",
        "tensor-overlap",
        "tensor-product-2-to-64",
    }
)
"""Files of ``reject/gguf`` that are imported each time; the others take minutes."""

TEMPLATES: Final = {
    "climbs-to-the-globals": (
        MALFORMED,
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    ),
    "climbs-to-subclasses": (
        MALFORMED,
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    ),
    "climbs-by-a-filter": (MALFORMED, "{{ ''|attr('__class__')|attr('__mro__') }}"),
    "includes-a-file": (MALFORMED, "{% include '/etc/passwd' %}"),
    "changes-the-messages": (MALFORMED, "{{ messages.clear() }}x"),
    "does-not-compile": (MALFORMED, "{% for m in messages %}"),
    "writes-nothing": (MALFORMED, "{# nothing #}"),
    "refuses-everything": (MALFORMED, "{{ raise_exception('no') }}"),
    "counts-to-a-billion": (MALFORMED, "{% for i in range(10**9) %}{% endfor %}x"),
    "repeats-a-letter": (LIMIT, "{{ 'x' * 10**10 }}"),
    "pads-a-number": (LIMIT, "{{ '%09999999999d'|format(1) }}"),
    "writes-without-end": (
        LIMIT,
        "{% for i in range(99999) %}{{ 'x' * 100 }}{% endfor %}",
    ),
    "doubles-a-string": (
        LIMIT,
        (
            "{% set s = namespace(a='x' * 1000) %}{% for i in range(60) %}"
            "{% set s.a = s.a + s.a %}{% endfor %}{{ s.a|length }}"
        ),
    ),
    "calls-itself": (LIMIT, "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"),
    "nests-too-deeply": (LIMIT, "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}"),
}
"""Chat templates: code, and text."""

ENDLESS: Final = (
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x"
)
"""A template that stays below every limit but that of time."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for name, file, code, where in rejected():
        # An empty file is no artifact: its manifest would be refused.
        if name != "empty":
            data = file if isinstance(file, bytes) else file.packed()
            yield _of(
                f"gguf-{name}", code, f"{PATH}: {where}", data, slow=name not in USUAL
            )
    pickle = b"\x80\x04cos\nsystem\n(S'id'\ntR."
    yield _of("pickle", MALFORMED, f"{PATH}: magic", pickle)
    for name, (code, template) in TEMPLATES.items():
        yield _template(name, code, template)
    yield _template("takes-for-ever", LIMIT, ENDLESS, where=PATH, slow=True)
    yield from _other_than_said()
    yield from _only_llama_knows()
    yield from _split()


def _other_than_said() -> Iterator[Case]:
    good = RawGguf().packed()
    for name, said in (
        ("architecture", replace(TERMS, architecture="qwen2")),
        ("context", replace(TERMS, context_length=65)),
    ):
        yield _of(f"other-{name}-than-said", MALFORMED, PATH, good, terms=said)


def _only_llama_knows() -> Iterator[Case]:
    mixture = replace(TERMS, architecture="qwen3moe")
    for name, code, where, data, terms in (
        ("without-its-tensors", UNLOADABLE, "", RawGguf().packed, TERMS),
        ("that-aborts-llama-cpp", PROBE_DIED, ".part", _aborting, mixture),
    ):
        case = of_made(
            f"model-{name}", code, where, _lazily(data, terms), step=Step.TRIAL_LOAD
        )
        yield replace(case, fault=True)


def _split() -> Iterator[Case]:
    def of(name: str, where: str, parts: Callable[[], tuple[bytes, ...]]) -> Case:
        return of_made(
            f"parts-{name}",
            MALFORMED,
            where,
            lambda: _parts(parts()),
            step=Step.EXAMINE,
        )

    yield of("exchanged", "part 1 of 2: split.no", lambda: _model_parts(1)[::-1])
    yield of("too-few", "part 1 of 3: split.count", lambda: _model_parts(2)[:-1])
    yield of(
        "of-two-models",
        "part 2 of 2: split.count",
        lambda: (_model_parts(1)[0], _model_parts(2)[1]),
    )


def _of(
    name: str,
    code: str,
    where: str,
    data: bytes,
    *,
    terms: ModelTerms = TERMS,
    slow: bool = False,
) -> Case:
    return of_made(
        name, code, where, lambda: _bundle(data, terms), step=Step.EXAMINE, slow=slow
    )


def _template(
    name: str,
    code: str,
    template: str,
    *,
    where: str = f"{PATH}: tokenizer.chat_template",
    slow: bool = False,
) -> Case:
    raw = RawGguf().having(text("tokenizer.chat_template", template))
    return _of(f"template-{name}", code, where, raw.packed(), slow=slow)


def _lazily(data: Callable[[], bytes], terms: ModelTerms) -> Callable[[], Files]:
    return lambda: _bundle(data(), terms)


def _bundle(data: bytes, terms: ModelTerms = TERMS) -> Files:
    return bundle(
        Delivery(kind="model", name="evil", path=PATH, data=data, model=terms)
    )


@cache
def good_model() -> bytes:
    """Return a model that llama.cpp loads."""
    with tempfile.TemporaryDirectory() as folder:
        return write_model(Path(folder) / "m.gguf", SMALLEST).read_bytes()


@cache
def _aborting() -> bytes:
    """Return a model on which an assertion of llama.cpp ends the process.

    It has experts, and says that none of them is ever used.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = replace(SMALLEST, architecture="qwen3moe", experts_used=0)
        return write_model(Path(folder) / "m.gguf", model).read_bytes()


@cache
def _model_parts(layers: int) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        model = replace(SMALLEST, layers=layers)
        paths = write_split_model(Path(folder) / "m.gguf", model)
        return tuple(path.read_bytes() for path in paths)


def split_model() -> Files:
    """Return a bundle of a good model in several files."""
    return _parts(_model_parts(1))


def _parts(parts: tuple[bytes, ...]) -> Files:
    """Return a bundle of a split model whose files are ``parts``, in that order."""
    digests = tuple(sha256_of(part) for part in parts)
    names = [
        part_name("evil", number=number, count=len(parts))
        for number in range(1, len(parts) + 1)
    ]
    first = Delivery(
        kind="model",
        name="evil",
        path=f"models/{names[0]}.gguf",
        data=parts[0],
        model=replace(TERMS, parts=digests),
    )
    others = (
        Delivery(kind="part", name=name, path=f"models/{name}.gguf", data=data)
        for name, data in zip(names[1:], parts[1:], strict=True)
    )
    return bundle(first, *others)
