"""The tokenizer of a model: trained here, or copied whole from another file."""

from pathlib import Path

import gguf

from tests.support.gguf_writer import encoder
from tests.support.gguf_writer.model import TinyModel
from tests.support.gguf_writer.tokenizer_keys import tokenizer_keys
from tests.support.tokenizer import SPECIAL_TOKENS, train
from tests.support.word_pieces import SPECIAL_PIECES, word_pieces

_TOKENS = "tokenizer.ggml.tokens"
_TYPE_COUNT = "tokenizer.ggml.token_type_count"
_TEMPLATE = "tokenizer.chat_template"


def vocabulary_size(model: TinyModel) -> int:
    """Return the number of tokens of ``model``."""
    if model.tokenizer is not None:
        return len(tokenizer_keys(model.tokenizer)[_TOKENS].value)
    if model.architecture in encoder.ARCHITECTURES:
        return len(word_pieces())
    return len(train().tokens)


def token_types(model: TinyModel) -> int:
    """Return how many kinds of token an encoder of that vocabulary tells apart."""
    if model.tokenizer is None:
        return encoder.TOKEN_TYPES
    return int(tokenizer_keys(model.tokenizer)[_TYPE_COUNT].value)


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
    elif model.tokenizer is not None:
        _copy_template(writer, model.tokenizer)


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
    """Copy every key of the tokenizer but its chat templates."""
    for name, held in tokenizer_keys(source).items():
        if not name.startswith(_TEMPLATE):
            writer.add_key_value(name, held.value, held.kind, sub_type=held.element)


def _copy_template(writer: gguf.GGUFWriter, source: Path) -> None:
    held = tokenizer_keys(source).get(_TEMPLATE)
    if held is not None:
        writer.add_chat_template(held.value)
