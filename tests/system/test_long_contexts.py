"""Long contexts at once, more than the cache holds: they wait, and none is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gguf_writer import TinyModel, write_model
from tests.support.real_host import RealHost, commission, serving

CELLS = 8_192
NEW = 400
PROMPT = "one two three four five six seven eight nine ten. " * 90
"""More than a third of the cache, so that of four like it two fit at once."""

SETTINGS = f"""\
[engine]
threads = 1
context_tokens = {CELLS}
cells = {CELLS}
sequences = 4
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    folder = tmp_path_factory.mktemp("long")
    path = write_model(folder / "endless.gguf", TinyModel(context=CELLS, seed=2))
    made = commission(folder, models=[("endless", path)], settings=SETTINGS)
    with serving(made):
        yield made


def test_four_long_contexts_on_a_cache_for_two_all_end_well(host: RealHost) -> None:
    client = host.client()

    def ask(number: int) -> tuple[int, int, str]:
        answer = client.chat.completions.create(
            model="endless",
            # Different from the first word on: no cell can be shared.
            messages=[{"role": "user", "content": f"{number} {PROMPT}"}],
            max_tokens=NEW,
            temperature=0,
        )
        assert answer.usage is not None
        reason = answer.choices[0].finish_reason
        return answer.usage.prompt_tokens, answer.usage.completion_tokens, reason

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert all(reason == "length" and new == NEW for _, new, reason in answers)
    wanted = [prompt + new for prompt, new, _ in answers]
    assert max(wanted) <= CELLS < 3 * min(wanted)
    responses = host.records("llm.response")
    assert [each["status"] for each in responses] == [200] * 4
