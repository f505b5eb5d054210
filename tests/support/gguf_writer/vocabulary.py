"""The tokenizer of a model: trained here, or copied whole from another file."""

import functools
from pathlib import Path

import gguf

from tests.support.gguf_writer import encoder
from tests.support.gguf_writer.model import TinyModel
from tests.support.tokenizer import SPECIAL_TOKENS, train
from tests.support.word_pieces import SPECIAL_PIECES, word_pieces

_PREFIX = "tokenizer."
_TOKENS = "tokenizer.ggml.tokens"
_TEMPLATE = "tokenizer.chat_template"


def vocabulary_size(model: TinyModel) -> int:
    """Return the number of tokens of ``model``."""
    if model.tokenizer is not None:
        return len(_fields(model.tokenizer)[_TOKENS].data)
    if model.architecture in encoder.ARCHITECTURES:
        return len(word_pieces())
    return len(train().tokens)


def add_vocabulary(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    """Add the tokenizer of ``model`` and its chat template."""
    writer.add_vocab_size(vocabulary_size(model))
    if model.tokenizer is not None:
        _copy(writer, model.tokenizer)
    elif model.architecture in encoder.ARCHITECTURES:
        _add_word_pieces(writer)
    else:
        _add_byte_pairs(writer, model)
    if model.chat_template is not None:
        writer.add_chat_template(model.chat_template)


def _add_byte_pairs(writer: gguf.GGUFWriter, model: TinyModel) -> None:
    tokenizer = train()
    specials = len(SPECIAL_TOKENS)
    normal = len(tokenizer.tokens) - specials
    control_type, normal_type = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    usual = "qwen2" if "qwen" in model.architecture else "gpt-2"
    writer.add_tokenizer_pre(model.pre_tokenizer or usual)
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types([control_type] * specials + [normal_type] * normal)
    writer.add_token_merges(list(tokenizer.merges))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)


def _add_word_pieces(writer: gguf.GGUFWriter) -> None:
    pieces = word_pieces()
    specials = len(SPECIAL_PIECES)
    normal = len(pieces) - specials
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(encoder.TOKEN_TYPES)
    writer.add_token_list(list(pieces))
    writer.add_token_types(
        [gguf.TokenType.CONTROL] * specials + [gguf.TokenType.NORMAL] * normal
    )
    padding, unknown, first, separator, mask = range(specials)
    writer.add_pad_token_id(padding)
    writer.add_unk_token_id(unknown)
    writer.add_bos_token_id(first)
    writer.add_sep_token_id(separator)
    writer.add_mask_token_id(mask)


def _copy(writer: gguf.GGUFWriter, source: Path) -> None:
    """Copy every key of the tokenizer but the chat template, which is the model's."""
    for name, field in _fields(source).items():
        if name.startswith(_PREFIX) and not name.startswith(_TEMPLATE):
            writer.add_key_value(
                name,
                field.contents(),
                field.types[0],
                sub_type=field.types[-1] if len(field.types) > 1 else None,
            )


@functools.cache
def _fields(source: Path) -> dict[str, gguf.ReaderField]:
    return dict(gguf.GGUFReader(source).fields)
