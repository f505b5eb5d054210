from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from appliance.db.session import create_database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_database(tmp_path / "sallyport.db")
    with engine.begin() as opened:
        yield opened
    engine.dispose()
