"""Parts of a cache: which one a request gets, and what is copied into it."""

from collections.abc import Sequence

import pytest

from appliance.engine.port import Sampling
from appliance.engine.scheduling.parted_residents import PartedResidents
from appliance.engine.scheduling.paths import Paths
from appliance.engine.scheduling.residents import Place
from appliance.engine.scheduling.spill import Spill
from tests.support.fake_decoder import FakeDecoder

PARTS = 4
ALIKE = tuple(range(10, 30))


class Cache:
    """Parts over a decoder that checks what it is told; prompts of one tenant."""

    def __init__(self) -> None:
        self.decoder = FakeDecoder(
            cells=PARTS * 256, sequences=PARTS, batch_tokens=256, parted=True
        )
        self.copies: list[tuple[int, int]] = []
        self.residents = PartedResidents(
            self.decoder,
            cells=PARTS * 256,
            sequences=PARTS,
            spill=Spill(limit_bytes=0, least_tokens=1),
        )
        self._paths = Paths()
        copy = self.decoder.copy

        def noted(source: int, target: int) -> None:
            self.copies.append((source, target))
            copy(source, target)

        self.decoder.copy = noted  # type: ignore[method-assign]

    def enter(self, prompt: Sequence[int], *, compute: bool = True) -> Place:
        place = self.residents.enter(
            self._paths.path("red", tuple(prompt)), need_cells=len(prompt) + 1
        )
        assert place is not None
        self.decoder.open(
            place.sequence, sampling=Sampling(), max_new_tokens=9, generated=()
        )
        assert self.decoder.tokens(place.sequence) == list(prompt[: place.reused])
        if compute:
            self.compute(place, prompt)
        return place

    def compute(self, place: Place, prompt: Sequence[int], begin: int = -1) -> None:
        cells = self.decoder.held[place.sequence]
        cells += [
            self.decoder._cell(token)
            for token in prompt[place.reused if begin < 0 else begin :]
        ]
        self.residents.advance(place.sequence, tokens=len(prompt))

    def finish(self, place: Place) -> None:
        self.decoder.retire(place.sequence)
        self.residents.finish(place.sequence, answer=())


@pytest.fixture
def cache() -> Cache:
    return Cache()


def test_those_that_run_lie_side_by_side(cache: Cache) -> None:
    places = [cache.enter((number,) * 9) for number in range(1, 5)]
    assert [place.sequence for place in places] == [0, 1, 2, 3]
    cache.finish(places[1])
    cache.finish(places[3])
    assert cache.enter((7,) * 9).sequence in {1, 3}


def test_nobody_enters_while_all_parts_run(cache: Cache) -> None:
    for number in range(1, 5):
        cache.enter((number,) * 9)
    path = Paths().path("red", (5,) * 9)
    assert cache.residents.enter(path, need_cells=1) is None


def test_a_conversation_goes_on_in_its_own_part(cache: Cache) -> None:
    first = cache.enter(ALIKE)
    cache.finish(first)
    other = cache.enter((1,) * 9)
    assert other.sequence != first.sequence
    cache.finish(other)
    place = cache.enter((*ALIKE, 1, 2, 3))
    assert (place.sequence, place.reused) == (first.sequence, len(ALIKE))
    assert cache.copies == []


def test_what_another_holds_is_copied_and_the_other_keeps_it(cache: Cache) -> None:
    running = cache.enter((*ALIKE, 1, 2))
    place = cache.enter((*ALIKE, 3, 4))
    assert place.reused == len(ALIKE)
    assert cache.copies == [(running.sequence, place.sequence)]
    assert cache.decoder.tokens(running.sequence) == [*ALIKE, 1, 2]


def test_a_long_conversation_is_not_lost_to_one_that_begins_like_it(
    cache: Cache,
) -> None:
    long = cache.enter((*ALIKE, *range(100, 160)))
    cache.finish(long)
    place = cache.enter((*ALIKE, 1))
    assert place.reused == len(ALIKE)
    assert cache.copies == [(long.sequence, place.sequence)]


def test_what_is_being_computed_is_copied_when_it_is_all_there(cache: Cache) -> None:
    prompt, mine = (*ALIKE, 1, 2), (*ALIKE, 3)
    leader = cache.enter(prompt, compute=False)
    place = cache.enter(mine, compute=False)
    assert place.reused == 0
    assert cache.residents.leap(place.sequence, tokens=0) == 0
    cache.compute(leader, prompt)
    # One that has ended by then has it all the same.
    cache.finish(leader)
    assert cache.residents.leap(place.sequence, tokens=0) == len(ALIKE)
    assert cache.decoder.tokens(place.sequence) == list(ALIKE)
    assert cache.residents.leap(place.sequence, tokens=len(ALIKE)) == len(ALIKE)
    assert len(cache.copies) == 1


def test_nothing_is_awaited_of_a_part_that_another_got(cache: Cache) -> None:
    prompt, mine = (*ALIKE, 1, 2), (*ALIKE, 3)
    leader = cache.enter(prompt, compute=False)
    place = cache.enter(mine, compute=False)
    cache.compute(leader, prompt)
    cache.finish(leader)
    # Begins with more than half of what was awaited, so it goes on in that part.
    taken = cache.enter((*ALIKE[:12], 99, 98), compute=False)
    assert taken.sequence == leader.sequence
    assert cache.residents.leap(place.sequence, tokens=0) == 0
    assert cache.copies == []


def test_another_tenants_prompt_is_not_copied(cache: Cache) -> None:
    cache.enter(ALIKE)
    path = Paths()
    path.path("red", ALIKE)
    place = cache.residents.enter(path.path("blue", ALIKE), need_cells=21)
    assert place is not None
    assert place.reused == 0


def test_the_least_recently_used_part_gives_way(cache: Cache) -> None:
    places = [cache.enter((number,) * 9) for number in range(1, 5)]
    for number in (2, 0, 3, 1):
        cache.finish(places[number])
    assert cache.enter((7,) * 9).sequence == 2
    # Beside the one that runs, although another was used less recently.
    assert cache.enter((8,) * 9).sequence == 3
