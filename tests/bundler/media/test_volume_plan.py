import pytest

from bundleformat.digest import sha256_of
from bundleformat.errors import LimitExceededError, UsageError
from bundleformat.manifest import Chunk
from bundler.media.volume_plan import CAPACITIES, parse_volume_size, plan_volumes

GIB = 2**30


def chunk(number: int, size_bytes: int) -> Chunk:
    return Chunk(sha256=sha256_of(number.to_bytes(4, "big")), size_bytes=size_bytes)


@pytest.mark.parametrize(
    "text",
    ["", "usb", "DVD", "0MiB", "1023KiB", "5", "4 GiB", "4gib", "-1GiB", "2000000GiB"],
)
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_volume_size(text)
    assert caught.value.where == "--volume-size"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1MiB", 2**20), ("64GiB", 64 * GIB), ("700MiB", 700 << 20)],
)
def test_a_size_is_what_it_says(text: str, size_bytes: int) -> None:
    assert parse_volume_size(text) == size_bytes


@pytest.mark.parametrize(
    ("preset", "marketed_bytes", "full_chunks"),
    [
        ("fat32", 2**32, 3),
        ("cd", 737_280_000, 0),
        ("dvd", 4_707_319_808, 4),
        ("dvd-dl", 8_547_991_552, 7),
        ("bd25", 25_025_314_816, 22),
        ("bd100", 100_103_356_416, 89),
    ],
)
def test_a_preset_leaves_room_and_wastes_little(
    preset: str, marketed_bytes: int, full_chunks: int
) -> None:
    size_bytes = parse_volume_size(preset)
    assert 0.93 * marketed_bytes < size_bytes < 0.995 * marketed_bytes
    chunks = [chunk(number, GIB) for number in range(100)]
    if not full_chunks:
        with pytest.raises(LimitExceededError) as caught:
            plan_volumes(chunks, volume_bytes=size_bytes, shared_sizes=[100_000])
        assert "--chunk-size 512MiB" in caught.value.hint
        return
    plan = plan_volumes(chunks, volume_bytes=size_bytes, shared_sizes=[100_000])
    assert {len(load) for load in plan[:-1]} == {full_chunks}


def test_every_preset_is_tested() -> None:
    assert set(CAPACITIES) == {"fat32", "cd", "dvd", "dvd-dl", "bd25", "bd100"}


def test_small_chunks_fill_the_rest_of_earlier_volumes() -> None:
    chunks = [chunk(n, GIB) for n in range(5)] + [chunk(9, 1_000), chunk(10, 1_000)]
    plan = plan_volumes(chunks, volume_bytes=3 * GIB, shared_sizes=[])
    assert [len(load) for load in plan] == [4, 2, 1]
    assert plan[0][2:] == tuple(chunks[5:])


def test_a_chunk_is_put_on_one_volume_only() -> None:
    twice = chunk(1, 1_000)
    plan = plan_volumes([twice, chunk(2, 1), twice], volume_bytes=GIB, shared_sizes=[])
    assert [len(load) for load in plan] == [2]


def test_a_bundle_without_chunks_takes_one_volume() -> None:
    assert plan_volumes([], volume_bytes=2**20, shared_sizes=[1]) == ((),)


def test_too_many_volumes_are_refused() -> None:
    chunks = [chunk(number, 600_000) for number in range(4_097)]
    with pytest.raises(LimitExceededError) as caught:
        plan_volumes(chunks, volume_bytes=2**20, shared_sizes=[])
    assert caught.value.where == "--volume-size"


def test_metadata_above_a_volume_is_refused() -> None:
    with pytest.raises(LimitExceededError) as caught:
        plan_volumes([chunk(1, 1)], volume_bytes=2**20, shared_sizes=[2**20])
    assert "larger than" in caught.value.hint
