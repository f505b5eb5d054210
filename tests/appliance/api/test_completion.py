"""An answer's events, to the byte."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.api.completion import Heading, TextEvents, chunk
from appliance.api.sse import event

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
HARD = st.sampled_from(['"content":""', '\\"content":""', "\n", "\u2028", ""])


@given(text=UNICODE | HARD, model=UNICODE | HARD, with_usage=st.booleans())
def test_text_events_are_those_of_whole_chunks(
    text: str, model: str, *, with_usage: bool
) -> None:
    heading = Heading(
        request_id="r", created_s=1, model=model, fingerprint="fp", service_tier="auto"
    )
    value = chunk(heading, delta={"content": text}, with_usage=with_usage)
    assert TextEvents(heading, with_usage=with_usage).event(text) == event(value)
