"""Fixtures that more than one folder of tests uses."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def demo_model() -> Path:
    return REPOSITORY / "bundler" / "demo" / "sallyport-demo.q8_0.gguf"
