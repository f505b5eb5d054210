"""Fixtures of the installer's tests: tiny wheels, and a medium that carries them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.install_medium import Medium
from tests.support.publish_wheels import (
    Delivery,
    environment_of,
    publish_artifacts,
    quick_pip,
    sallyport_stub,
    tiny_wheel,
)

CHUNK_BYTES = 512 * 1024


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Medium]:
    def medium(*deliveries: Delivery) -> Medium:
        bundle = publish_artifacts(
            tmp_path / "medium", deliveries, chunk_bytes=CHUNK_BYTES
        )
        return Medium(tmp_path, bundle)

    return medium


@pytest.fixture
def wheels(tmp_path: Path) -> tuple[Path, ...]:
    folder = tmp_path / "wheels"
    return (quick_pip(folder), sallyport_stub(folder), tiny_wheel(folder, "helper"))


@pytest.fixture
def medium(make: Callable[..., Medium], wheels: tuple[Path, ...]) -> Medium:
    return make(*environment_of("host", wheels, role="appliance"))
