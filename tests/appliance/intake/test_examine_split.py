"""The confined examiner gets all parts of a split model, and trusts none of them."""

from pathlib import Path

import pytest

from appliance.intake.examine import examine_model
from bundleformat.errors import MalformedError
from tests.support.gguf_writer import TinyModel, write_model, write_split_model


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return list(write_split_model(tmp_path / "m.gguf", TinyModel(weights="q8_0")))


def test_parts_out_of_order_are_refused(parts: list[Path]) -> None:
    first, *others = parts
    with pytest.raises(MalformedError) as caught:
        examine_model(*others, first, where="models/m.gguf")
    assert caught.value.where.startswith("models/m.gguf: part 1 of ")


def test_a_model_that_lacks_a_part_is_refused(parts: list[Path]) -> None:
    with pytest.raises(MalformedError):
        examine_model(*parts[:-1], where="models/m.gguf")


def test_all_parts_in_their_order_are_the_model(
    parts: list[Path], tmp_path: Path
) -> None:
    whole = write_model(tmp_path / "whole.gguf", TinyModel(weights="q8_0"))
    split = examine_model(*parts, where="models/m.gguf")
    single = examine_model(whole, where="models/m.gguf")
    assert split.architecture == single.architecture
    assert split.tensor_count == single.tensor_count
