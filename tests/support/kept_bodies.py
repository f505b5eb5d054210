"""A host that has kept prompts and answers, and the officer who approves things."""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from appliance.bodies.commitment import SALT_BYTES, Commitment
from appliance.bodies.vault import Body, Part
from appliance.body_flow import open_vault
from appliance.cli import main
from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from appliance.host import OpenHost
from appliance.ledger.records.events import Draft
from bundleformat.approval import Approval, Ask, issue, parse_ask
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import fingerprint
from tests.support.ledgers import request, response
from tests.support.publisher import Keys, make_root, new_keys

CANARY = "canary-5f1c"
PROMPT = f'{{"messages":[{{"content":"{CANARY} asked","role":"user"}}]}}'.encode()
ANSWER = f"{CANARY} answered\n\x1b[2J\u202ein red".encode()
WHY = "ticket 4711: a complaint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """The host's folder, its publisher's keys, and a way to run its commands."""

    home: Path
    keys: Keys
    capture: pytest.CaptureFixture[str]

    @classmethod
    def copied(
        cls,
        made: tuple[Path, Keys],
        folder: Path,
        capture: pytest.CaptureFixture[str],
    ) -> "Archive":
        """Return a copy below ``folder`` of a host that ``filled`` made."""
        home, keys = made
        shutil.copytree(home, folder / "home")
        return cls(home=folder / "home", keys=keys, capture=capture)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run a command with --json; return its status, and its value or its error."""
        self.capture.readouterr()
        status = main(["--home", str(self.home), *arguments, "--json"])
        out, err = self.capture.readouterr()
        value = json.loads(out) if status == 0 else json.loads(err)["error"]
        assert isinstance(value, dict)
        return status, value

    def approved(
        self,
        *arguments: str,
        signer: CryptoSigner | None = None,
        **changed: Any,
    ) -> str:
        """Ask for a command, have it approved, perhaps changed; return the file."""
        path = self.home.parent / "ask.json"
        path.unlink(missing_ok=True)
        status, value = self.run(*arguments, "--ask", str(path))
        assert status == 0, value
        ask = replace(parse_ask(path.read_bytes(), limits=DEFAULT_LIMITS), **changed)
        return self.sign(ask, signer=signer)

    def sign(
        self,
        ask: Ask,
        *,
        signer: CryptoSigner | None = None,
        issued: dt.datetime | None = None,
    ) -> str:
        """Approve ``ask`` as the officer; return the file."""
        when = issued or SystemClock().now().replace(microsecond=0)
        envelope = issue(Approval(ask=ask, issued=when), signer or self.keys.compliance)
        path = self.home.parent / "approval.json"
        path.write_bytes(envelope)
        return str(path)

    def records(self, event: str = "") -> list[dict[str, Any]]:
        """Every record, or those of one event."""
        host = open_host(self.home)
        with host.look() as connection:
            rows = connection.exec_driver_sql("SELECT bytes FROM record ORDER BY seq")
            found = [json.loads(data) for data in rows.scalars()]
        host.database.dispose()
        return [each for each in found if event in ("", each["event"])]

    def files(self) -> dict[str, bytes]:
        """What lies in the file of bodies and beside it."""
        return {p.name: p.read_bytes() for p in self.home.glob("bodies.db*")}

    def rows(self) -> set[tuple[str, str]]:
        """The request and part of every body in the file."""
        host = open_host(self.home)
        vault = open_vault(host)
        found: set[tuple[str, str]] = set(vault.names())
        vault.close()
        host.database.dispose()
        return found


def body_field(data: bytes, *, salt: bytes, capture: str = "full") -> dict[str, Any]:
    """What a record says of a body."""
    made = Commitment(salt)
    made.add(data)
    return {
        "capture": capture,
        "commitment": made.hexdigest(),
        "size_bytes": made.size_bytes,
    }


def with_body(draft: Draft, said: Mapping[str, Any]) -> Draft:
    """The draft of a record that says this of its body."""
    return replace(draft, fields={**draft.fields, "body": said})


def keep_call(
    host: OpenHost,
    request_id: str,
    *,
    team: str = "claims",
    capture: str = "full",
    answer: bytes | None = ANSWER,
    ended: bool = True,
) -> None:
    """Have a call on record, and its bodies kept if they are captured in full."""
    texts: dict[Part, bytes] = {"request": PROMPT}
    if answer is not None:
        texts["response"] = answer
    salts = {part: bytes([n + 1]) * SALT_BYTES for n, part in enumerate(texts)}
    if capture == "full":
        vault = open_vault(host)
        vault.put(
            [
                Body(
                    team=team,
                    request_id=request_id,
                    part=part,
                    salt=salts[part],
                    data=data,
                )
                for part, data in texts.items()
            ],
            now=host.clock.now(),
        )
        vault.close()
    said: dict[Part, dict[str, Any]] = {
        part: (
            {"capture": capture}
            if capture == "metadata"
            else body_field(data, salt=salts[part], capture=capture)
        )
        for part, data in texts.items()
    }
    with host.change() as connection:
        draft = with_body(request(request_id, team=team), said["request"])
        (receipt,) = host.record(connection, [draft], now=host.clock.now())
        if ended:
            draft = response(request_id, parent=receipt.seq, team=team)
            if "response" in said:
                draft = with_body(draft, said["response"])
            host.record(connection, [draft], now=host.clock.now())


def commission_home(folder: Path) -> tuple[Path, Keys]:
    """A commissioned home whose root names a compliance key."""
    keys = new_keys()
    now = SystemClock().now().replace(microsecond=0)
    root = make_root(keys, expires=now + dt.timedelta(days=30))
    home = Home(folder / "home")
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=SystemClock())
    (home.root / "sallyport.toml").write_text("[ledger]\nballast_bytes = 65536\n")
    return home.root, keys


def filled(folder: Path, fill: Callable[[OpenHost], None]) -> tuple[Path, Keys]:
    """A commissioned home with what ``fill`` puts into it."""
    home, keys = commission_home(folder)
    host = open_host(home)
    fill(host)
    host.database.dispose()
    return home, keys
