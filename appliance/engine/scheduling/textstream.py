"""Turns token bytes into text that may be shown: whole characters, no stop string.

A token can end inside a UTF-8 character, and a stop string can begin in one
piece and end in another. Both are held back until it is certain what they are.
Bytes that can never become UTF-8 are shown as U+FFFD; they come from the model,
not from a transport, so refusing them would only lose the answer.
"""

import codecs


class TextStream:
    """One answer's text, as it grows.

    Attributes:
        stopped: Whether a stop string was met; nothing after it is ever shown.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Return the text that ``data`` makes certain."""
        return self._release(self._decoder.decode(data), final=False)

    def flush(self) -> str:
        """Return what is left when no more tokens come."""
        return self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, text: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = self._first_stop()
        if found is not None:
            self.stopped = True
            shown, self._held = self._held[:found], ""
            return shown
        keep = 0 if final else self._beginning()
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def _first_stop(self) -> int | None:
        places = [self._held.find(stop) for stop in self._stop]
        return min((place for place in places if place >= 0), default=None)

    def _beginning(self) -> int:
        """Return how many last characters might begin a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
