"""A real host in a folder: commissioned, loaded from a signed bundle, served."""

import datetime as dt
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from openai import OpenAI
from securesystemslib.signer import CryptoSigner

from appliance import admin_flow, commission_flow, import_flow
from appliance.clock import SystemClock
from appliance.compose import import_host, open_host
from appliance.core_policies import core_files
from appliance.home import Home
from appliance.import_steps.host import Asked
from appliance.policy.classes import parse_classes
from bundleformat import ledger_release
from bundleformat.ledger_release import Cause, LedgerRelease
from bundleformat.site_certificate import SiteCertificate, issue
from tests.support.publisher import Published, make_root, new_keys, publish_bundle

REGION = "in-blr"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
SMALL_BALLAST = "\n[ledger]\nballast_bytes = 1048576\nlow_percent = 1\n"
"""What every host of a test has: many of them share a disk."""

LISTENING = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass
class HostFolder:
    """A host's home folder and, while started, its server process."""

    home: Path
    key: str = ""
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    starts: int = 0
    program: tuple[str, ...] = ("-m", "appliance")
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.home / "sallyport.db"

    @property
    def log(self) -> Path:
        return self.home.parent / f"server-{self.starts}.log"

    def start(self) -> None:
        """Start ``sallyport serve`` and return when it listens."""
        self.starts += 1
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "serve", "--port", "0"],
                env={
                    **os.environ,
                    "SALLYPORT_HOME": str(self.home),
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = LISTENING.search(self.log.read_text())
            if found:
                self.url = found.group()
                return
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """End the server as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """Stop the server as an operator would and return its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_LIMIT_S)
        self.process = None
        return status

    def client(self, key: str | None = None, *, retries: int = 0) -> OpenAI:
        """The official client, with strict validation of every response."""
        return OpenAI(
            base_url=f"{self.url}/v1",
            api_key=key or self.key,
            max_retries=retries,
            _strict_response_validation=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``sallyport`` on this host."""
        return subprocess.run(
            [sys.executable, "-m", "appliance", *arguments],
            env={**os.environ, "SALLYPORT_HOME": str(self.home), **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def release(
        self, signer: CryptoSigner, **changed: Any
    ) -> subprocess.CompletedProcess[str]:
        """Let the halted ledger go on, as the security officer and the operator do."""
        status = json.loads(self.run("audit", "status", "--json").stdout)
        halt = status["halt"]
        said: dict[str, Any] = {
            "log": status["origin"],
            "halt": halt["number"],
            "cause": Cause(halt["cause"]),
            "halted": halt["halted"],
            "reason": "a test is over",
            "issued": SystemClock().now().replace(microsecond=0),
        }
        release = LedgerRelease(**(said | changed))
        path = self.home.parent / "release.json"
        path.write_bytes(ledger_release.issue(release, signer))
        return self.run("audit", "release", str(path))

    def team(self, name: str, **terms: int | str) -> str:
        """Give a team, new or known, these terms; return a new key of it."""
        host = open_host(self.home)
        try:
            key, _ = admin_flow.create_key(
                host, team=name, name="", lifetime=dt.timedelta(days=1)
            )
            classes = parse_classes(core_files().classes)
            admin_flow.set_team(
                host,
                name,
                levels={row.name: row.level for row in classes.rows},
                changes={term: str(value) for term, value in terms.items()},
            )
        finally:
            host.database.dispose()
        return key.secret_text

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        """Every record of the ledger, or those of one event."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT bytes FROM record ORDER BY seq")
            records = [json.loads(row[0]) for row in rows]
        connection.close()
        return [r for r in records if event is None or r["event"] == event]


@dataclass(kw_only=True)
class RealHost(HostFolder):
    """A commissioned host that has imported a bundle."""

    bundle: Published


def commission(
    folder: Path,
    *,
    models: Sequence[tuple[str, Path]],
    policies: Sequence[tuple[str, bytes]] = (),
    settings: str = "",
    team: str = "claims",
) -> RealHost:
    """Make a host below ``folder`` that has imported a bundle and knows one team."""
    now = SystemClock().now().replace(microsecond=0)
    keys = new_keys()
    root = make_root(keys, expires=now + dt.timedelta(days=30))
    bundle = publish_bundle(
        folder / "bundle",
        models=[(name, path, None) for name, path in models],
        policies=policies,
        keys=keys,
        roots=[root],
        created=now,
        expires=now + dt.timedelta(days=30),
    )
    home = Home(folder / "home")
    commission_flow.initialise_trust(
        home, root, fingerprint=bundle.fingerprint, clock=SystemClock()
    )
    settings = settings or "[engine]\nthreads = 1\n"
    if "[ledger]" not in settings:
        settings += SMALL_BALLAST
    (home.root / "sallyport.toml").write_text(settings)
    host = open_host(home.root)
    certificate = SiteCertificate(
        site="blr-07",
        region=REGION,
        jurisdictions=("IN",),
        not_before=now - dt.timedelta(days=1),
        not_after=now + dt.timedelta(days=30),
    )
    admin_flow.install_site(host, issue(certificate, keys.compliance))
    import_flow.import_bundle(import_host(host), Asked(media=(bundle.folder,)))
    key, _ = admin_flow.create_key(
        host, team=team, name="", lifetime=dt.timedelta(days=1)
    )
    host.database.dispose()
    return RealHost(home=home.root, bundle=bundle, key=key.secret_text)


Served = TypeVar("Served", bound=HostFolder)


@contextmanager
def serving(host: Served) -> Iterator[Served]:
    """Start the host's server, and stop it whatever happens."""
    host.start()
    try:
        yield host
    finally:
        if host.process is not None:
            host.process.terminate()
            host.process.wait(STOP_LIMIT_S)
