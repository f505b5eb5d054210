import string

from hypothesis import given
from hypothesis import strategies as st

from appliance.identity.keyformat import KEY_CHARACTERS, key_id_of, mint_text

ALPHABET = string.digits + string.ascii_letters
FIXED = "spk_AbCd1234_" + "0" * 43 + "3w26Sr"


def test_key_has_the_documented_shape() -> None:
    text = mint_text()
    assert len(text) == KEY_CHARACTERS == 62
    prefix, key_id, rest = text.split("_")
    assert (prefix, len(key_id), len(rest)) == ("spk", 8, 49)
    assert set(key_id + rest) <= set(ALPHABET)
    assert key_id_of(text) == key_id


def test_two_keys_share_nothing_but_the_prefix() -> None:
    one, two = mint_text(), mint_text()
    assert one[4:12] != two[4:12]
    assert one[13:56] != two[13:56]


def test_check_of_a_known_key_never_changes() -> None:
    assert key_id_of(FIXED) == "AbCd1234"


def test_every_mistyped_character_is_noticed() -> None:
    text = mint_text()
    for position in range(len(text)):
        for other in "_0Zé ":
            typo = text[:position] + other + text[position + 1 :]
            assert typo == text or key_id_of(typo) is None, position


def test_two_swapped_neighbours_are_noticed() -> None:
    text = mint_text()
    for position in range(len(text) - 1):
        swapped = text[position + 1] + text[position]
        typo = text[:position] + swapped + text[position + 2 :]
        assert typo == text or key_id_of(typo) is None, position


def test_cut_padded_and_spaced_keys_are_noticed() -> None:
    text = mint_text()
    for other in ("", text[:-1], text + "0", f" {text}", f"{text}\n", text.lower()):
        assert key_id_of(other) is None


@given(st.text(max_size=80))
def test_other_text_is_no_key(text: str) -> None:
    assert key_id_of(text) is None
