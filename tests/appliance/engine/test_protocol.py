"""Frames come back as they went, and nothing else comes in."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine import protocol as wire
from appliance.engine.planning.choices import Timing
from appliance.engine.planning.memory import Ceiling, Footprint, Gpu
from appliance.engine.port import Message, Sampling
from bundleformat.errors import LimitExceededError, MalformedError
from tests.appliance.engine.peer import LOADED

PREPARE = wire.Prepare(
    request_id="r-1",
    tenant="red",
    weight=3,
    priority=-10,
    deadline_s=1.5,
    messages=(Message(role="user", content="hé"), Message(role="system", content="")),
    sampling=Sampling(stop=("a", "b"), seed=2**60, temperature=0.5),
)
ORDERS: tuple[wire.Order, ...] = (
    PREPARE,
    wire.PrepareInputs(
        request_id="r-2",
        tenant="red",
        texts=("hé",),
        tokens=(b"\x01\x00\x00\x00",),
        dimensions=64,
        weight=2,
    ),
    wire.Start(request_id="r-1"),
    wire.Cancel(request_id="r-1"),
    wire.AskStats(),
)
REPORTS: tuple[wire.Report, ...] = (
    wire.Ready(
        context_tokens=1,
        cells=2,
        sequences=3,
        batch_tokens=4,
        longest_token_bytes=None,
        loaded=LOADED,
    ),
    wire.Measured(
        footprint=Footprint(
            memory=LOADED.memory,
            trained_tokens=1,
            context_tokens=2,
            cells=3,
            sequences=4,
            layers=5,
            gpus=(Gpu(name="a", description="b", free_bytes=1, memory_bytes=2),),
            ceilings=(Ceiling(name="c", left_bytes=-1),),
        )
    ),
    wire.Timed(
        timing=Timing(prompt_s=1.0, alone_s=0.5, together_s=2.0, rows=4, filled_cells=9)
    ),
    wire.LoadFailed(problem="p"),
    wire.Embedded(
        parts=(wire.Part(request_id="r-2", first=0, vectors=(b"\x00" * 4,), last=True),)
    ),
    wire.Step(
        deltas=(
            wire.Delta(request_id="a", text="x", completion_tokens=1),
            wire.Delta(
                request_id="b", text="", completion_tokens=2, finish_reason="length"
            ),
        )
    ),
    wire.Ended(request_id="a", prompt_tokens=1, completion_tokens=0),
)


@pytest.mark.parametrize("order", ORDERS, ids=lambda frame: type(frame).__name__)
def test_order_comes_back_as_it_went(order: wire.Order) -> None:
    assert wire.decode_order(wire.encode(order)[wire.LENGTH_BYTES :]) == order


@pytest.mark.parametrize("report", REPORTS, ids=lambda frame: type(frame).__name__)
def test_report_comes_back_as_it_went(report: wire.Report) -> None:
    assert wire.decode_report(wire.encode(report)[wire.LENGTH_BYTES :]) == report


@given(st.lists(st.integers(1, 40), max_size=30))
def test_splitter_yields_the_same_frames_however_the_bytes_are_cut(
    sizes: list[int],
) -> None:
    data = b"".join(wire.encode(order) for order in ORDERS)
    splitter = wire.FrameSplitter()
    got = []
    for size in [*sizes, len(data)]:
        got += [wire.decode_order(p) for p in splitter.feed(data[:size])]
        data = data[size:]
    assert tuple(got) == ORDERS


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"type": "Shell", "command": "x"}),
        msgspec.msgpack.encode({"type": "Start", "request_id": 7}),
        msgspec.msgpack.encode({"type": "Start", "request_id": "r", "more": 1}),
        wire.encode(wire.LoadFailed(problem="x"))[wire.LENGTH_BYTES :],
    ],
)
def test_payload_that_is_no_order_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        wire.decode_order(payload)
    assert caught.value.code == "malformed"


def test_length_above_the_limit_is_refused_before_its_bytes_arrive() -> None:
    head = (wire.MAX_FRAME_BYTES + 1).to_bytes(wire.LENGTH_BYTES, "big")
    with pytest.raises(LimitExceededError) as caught:
        list(wire.FrameSplitter().feed(head))
    assert caught.value.code == "limit-exceeded"


def test_frame_above_the_limit_is_not_sent() -> None:
    with pytest.raises(LimitExceededError):
        wire.encode(wire.LoadFailed(problem="x" * wire.MAX_FRAME_BYTES))


def test_text_with_half_a_surrogate_pair_is_not_sent() -> None:
    with pytest.raises(MalformedError):
        wire.encode(wire.LoadFailed(problem="\ud800"))
