"""A desk for three: a host with old calls, the officer's key, October's checkpoint."""

import datetime as dt
import shutil

from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.compose import open_host
from appliance.home import Home
from appliance.ledger.exports import verifier
from bundleformat.trust import fingerprint
from tests.support.clocks import SteppingClock
from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import make_root_of
from tests.support.guides.shell import Shell
from tests.support.kept_bodies import keep_call
from tests.support.real_host import SMALL_BALLAST

OLD = dt.timedelta(days=400)
"""How long ago the first calls were made."""


def prepare(shell: Shell) -> None:
    """Commission a host long ago, and give it calls of then and of now."""
    make_root_of(shell)
    (path,) = (shell.desk / "root").rglob("1.root.json")
    root, home = path.read_bytes(), Home(shell.home)
    home.root.parent.mkdir(parents=True)
    clock = SteppingClock(SystemClock().now() - OLD)
    initialise_trust(home, root, fingerprint=fingerprint(root), clock=clock)
    (home.root / "sallyport.toml").write_text(SMALL_BALLAST, encoding="utf-8")
    host = open_host(home.root, clock=clock)
    keep_call(host, "claims-1")
    keep_call(host, "claims-2", capture="metadata")
    keep_call(host, "legal-1", team="legal")
    clock.go(OLD.total_seconds())
    keep_call(host, "claims-3")
    host.database.dispose()
    shell.does("sallyport audit export --out october")
    shutil.move(shell.desk / "october" / "checkpoint.txt", shell.desk / "october.txt")
    shutil.rmtree(shell.desk / "october")
    shutil.copyfile(verifier.__file__, shell.desk / "verify.py")
    vkey = shell.does("sallyport audit key").strip()
    shell.known["november --key"] = vkey


RECORDS = Scene(prepare=prepare, deeds={})
"""The scene of ``records.md``."""
