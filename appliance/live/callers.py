"""Who presents an API key, asked for every request.

An answer is remembered only as long as nobody else has committed anything to the
database, so that a key counts from the moment it is made to the moment it is
revoked. Keys are remembered by their SHA-256, never by themselves.
"""

import hashlib
from functools import partial

from appliance.db.session import StandingReader
from appliance.errors import AuthenticationError
from appliance.host import OpenHost
from appliance.identity import keys
from appliance.identity.keys import Caller

REMEMBERED = 1_024
"""Most callers that are remembered at once."""


class Callers:
    """Knows callers by their keys."""

    def __init__(self, host: OpenHost, *, lookups: StandingReader) -> None:
        self._host = host
        self._lookups = lookups
        self._version = -1
        self._known: dict[bytes, Caller] = {}

    def identify(self, credential: str) -> Caller:
        """Return who presents ``credential``.

        Raises:
            AuthenticationError: Nobody whose key is valid now.
            StorageFaultError: The database could not be read.
        """
        version = self._lookups.version()
        if version != self._version or len(self._known) >= REMEMBERED:
            self._version = version
            self._known.clear()
        mark = hashlib.sha256(credential.encode("utf-8", "replace")).digest()
        caller = self._known.get(mark)
        now = self._host.clock.now()
        if caller is None:
            caller = self._known[mark] = keys.authenticate(
                partial(self._lookups.one, keys.WHOSE_KEY),
                credential,
                pepper=self._host.pepper,
                now=now,
            )
        if caller.key_expires <= now:
            raise AuthenticationError
        return caller
