"""System tests: real processes, real sockets on the loopback interface."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gguf_writer import TinyModel, write_model
from tests.support.real_host import RealHost, commission, serving

HERE = Path(__file__).parent

SETTINGS = """\
[server]
drain_s = 5

[engine]
threads = 1
context_tokens = 512
cells = 2048
sequences = 8
queued_requests = 8
default_max_tokens = 128
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.enable_socket)


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight model that answers without end, some hundred tokens a second."""
    path = tmp_path_factory.mktemp("models") / "slow.gguf"
    model = TinyModel(
        architecture="qwen2",
        layers=6,
        embedding=256,
        heads=8,
        feed_forward=1024,
        context=2_048,
    )
    return write_model(path, model)


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, demo_model: Path, slow_model: Path
) -> Iterator[RealHost]:
    """One served host with the trained demo model and the slow one."""
    made = commission(
        tmp_path_factory.mktemp("host"),
        models=[("demo", demo_model), ("slow", slow_model)],
        settings=SETTINGS,
    )
    with serving(made):
        yield made
