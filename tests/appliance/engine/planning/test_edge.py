"""An engine at the very edge of its memory: it loads and serves, or is refused.

The edge is a limit of the address space that the gateway sets for itself and its
children inherit. Everything that a process maps counts there, touched or not.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.gguf_writer import family, write_model

pytestmark = [pytest.mark.system, pytest.mark.slow]

MARGIN = 2**26
"""What is left alone, and all that an engine may take besides what was planned."""

ROOMY = 2**33
CHILD = Path(__file__).with_name("edge_child.py")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose cache of 12,288 cells takes 96 MiB."""
    wide = family(
        "llama",
        layers=8,
        embedding=256,
        kv_heads=4,
        feed_forward=512,
        weights="q8_0",
        context=4_096,
    )
    return write_model(tmp_path_factory.mktemp("edge") / "m.gguf", wide)


def serve(model: Path, limit_bytes: int) -> dict[str, Any]:
    """Start an engine below the limit and fill its cache; return how that went."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(model), str(limit_bytes), str(MARGIN)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_an_engine_serves_a_full_cache_at_the_edge_and_is_refused_below(
    model: Path,
) -> None:
    # A limit that is too small by a known number of bytes tells where the edge is.
    refused = serve(model, 2**28)
    assert refused["code"] == "insufficient-memory"
    assert "address space" in refused["limit"]
    assert refused["loaded"] is False
    edge = 2**28 + refused["needed_bytes"] - refused["allowed_bytes"]
    # No process is twice the same size, to the page.
    served = serve(model, edge + 2**21)
    assert served["code"] == "served"
    assert served["tokens"] > 12 * 900
    below = serve(model, edge - 2**21)
    assert below["code"] == "insufficient-memory"
    assert below["loaded"] is False


def test_what_is_resident_is_within_the_plan_when_the_cache_is_full(
    model: Path,
) -> None:
    served = serve(model, ROOMY)
    assert served["code"] == "served"
    assert served["resident_bytes"] <= served["planned_bytes"]
    # The rest is room for requests that wait, and scratch room nobody touched.
    assert served["resident_bytes"] >= 0.8 * served["planned_bytes"]
