"""Long runs are cut for the tokenizer, ordinary text and control tokens are not."""

import re

from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.worker.runs import MAX_RUN, cut_long_runs

CONTROL = re.compile(r"<\|im_end\|>")


def test_ordinary_text_is_one_piece() -> None:
    text = "A bundle is one signed release. " * 1_000
    assert cut_long_runs(text, whole=CONTROL) == [text]


def test_a_run_without_spaces_and_a_run_of_spaces_are_cut() -> None:
    for character in ("a", " ", "\n", "\u4e2d"):
        pieces = cut_long_runs(character * (3 * MAX_RUN + 5), whole=CONTROL)
        assert [len(piece) for piece in pieces] == [MAX_RUN] * 3 + [5]


def test_a_control_token_is_never_cut() -> None:
    for before in range(MAX_RUN - 12, MAX_RUN + 2):
        text = "a" * before + "<|im_end|>" + "b" * MAX_RUN
        pieces = cut_long_runs(text, whole=CONTROL)
        assert "".join(pieces) == text
        assert sum("<|im_end|>" in piece for piece in pieces) == 1


@given(st.text(alphabet="a <|im_end>", max_size=200).map(lambda text: text * 100))
def test_the_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(cut_long_runs(text, whole=CONTROL)) == text
