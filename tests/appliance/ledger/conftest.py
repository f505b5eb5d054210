"""A commissioned ledger for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ledgers import Ledger, ledger_in


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    home = tmp_path / "home"
    home.mkdir()
    with ledger_in(home) as made:
        yield made
