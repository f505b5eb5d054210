"""The auditor's desk: two months of a host elsewhere, and the media it sent."""

import json
import shutil
from collections.abc import Mapping

import openai
from openai import OpenAI

from appliance.audit_media import open_export
from appliance.compose import open_host
from appliance.ledger.exports import verifier
from bundleformat.trust import fingerprint
from tests.support.forgery import records_of, resign, thief_of
from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import build, new_publisher, put
from tests.support.guides.shell import Shell
from tests.support.real_host import SMALL_BALLAST, HostFolder, serving

SETTINGS = f"""\
[engine]
threads = 1
context_tokens = 256
cells = 512
sequences = 2
{SMALL_BALLAST}"""

HELD = "october.txt"
"""The checkpoint that the auditor kept of the month before."""


def prepare(shell: Shell) -> None:
    """Let a host serve for two months, and put what it sent on the desk."""
    host = host_of(shell)
    _commission(shell, host)
    shell.known["--key"] = shell.known["--log"] = _told(host, "audit key")
    keys = {team: _new_key(host, team) for team in ("claims", "legal")}
    host.does("sallyport team set claims --clearance pii")
    host.does("sallyport audit export --out october")
    shutil.copyfile(host.desk / "october" / "checkpoint.txt", shell.desk / HELD)
    shutil.copyfile(verifier.__file__, shell.desk / "verify.py")
    shutil.copyfile(open_export.__file__, shell.desk / "open_export.py")
    _witness(shell, host)
    _serve(shell, host, keys)
    _carry(shell, host)


def host_of(shell: Shell) -> Shell:
    """Return the machine that the auditor never sees."""
    return Shell(shell.root / "elsewhere-host")


def _commission(shell: Shell, host: Shell) -> None:
    press = new_publisher(shell, days=1)
    press.does(
        "sallyport-bundler site issue --key keys/compliance.key --site blr-07"
        " --region in-blr --jurisdiction IN --out site.json"
    )
    bundle = build(press, 1, [("claims-1b", 1), ("notes-1b", 2)])
    put(bundle, host, "/media/stick/bundle")
    put(press.desk / "site.json", host, "/media/stick/site.json")
    root = (bundle / "metadata" / "1.root.json").read_bytes()
    host.home.parent.mkdir(parents=True)
    host.does(
        "sallyport trust init --root /media/stick/bundle/metadata/1.root.json"
        f" --fingerprint {fingerprint(root)}"
    )
    (host.home / "sallyport.toml").write_text(SETTINGS, encoding="utf-8")
    host.does("sallyport site install /media/stick/site.json")
    host.does("sallyport bundle import /media/stick/bundle")


def _told(host: Shell, command: str) -> str:
    return host.does(f"sallyport {command}").strip()


def _new_key(host: Shell, team: str) -> str:
    first = _told(host, f"key create --team {team} --json").splitlines()
    (made,) = [line for line in first if line.startswith("{")]
    return str(json.loads(made)["key"])


def _witness(shell: Shell, host: Shell) -> None:
    """Have somebody else sign October's head, and keep that on the host."""
    other = Shell(shell.root / "elsewhere-witness")
    put(host.desk / "october", other, "/desk/october")
    told = _told(other, "audit witness-key witness.key --name auditor.example.org")
    shell.known["--witness"] = told
    log = shell.known["--log"]
    other.does(
        "sallyport audit cosign october/checkpoint.txt --key witness.key"
        f" --log {log} --out cosigned.txt"
    )
    put(other.desk / "cosigned.txt", host, "/desk/cosigned.txt")
    host.does(f"sallyport audit import-cosign cosigned.txt --witness {told}")


def _serve(shell: Shell, host: Shell, keys: Mapping[str, str]) -> None:
    """Serve and refuse through November; one caller keeps a receipt."""
    with serving(HostFolder(home=host.home)) as served:
        kept = _ask(served, keys["claims"], "claims-1b", "pii")
        _ask(served, keys["claims"], "claims-1b", "pii")
        _ask(served, keys["claims"], "notes-1b", "pii")
        _ask(served, keys["legal"], "claims-1b", "internal")
        _ask(served, keys["legal"], "claims-1b", "pii")
        _ask(served, keys["claims"], "claims-1b", "pii", region="eu-fra")
        _ask(served, keys["claims"], "unheard-of", "pii")
        _ask(served, "no-key-of-ours", "claims-1b", "pii")
    assert kept
    shell.known["verify-receipt"] = kept


def _ask(
    served: HostFolder, key: str, model: str, label: str, *, region: str = ""
) -> str:
    """Ask as a team does; return the receipt, or nothing where it is refused."""
    headers = {"x-data-class": label, **({"x-data-region": region} if region else {})}
    client = OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)
    with client:
        try:
            answer = client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": "What is claim 4711 about?"}],
                max_tokens=4,
                extra_headers=headers,
            )
        except openai.APIStatusError as refused:
            return str(refused.response.headers.get("x-audit-receipt", ""))
    return str(answer.headers["x-audit-receipt"])


def _carry(shell: Shell, host: Shell) -> None:
    """Export what the auditor asked for, and carry it over."""
    receipt = shell.known["verify-receipt"]
    put(shell.desk / HELD, host, f"/desk/{HELD}")
    host.does(
        f"sallyport audit export --out november.tar --tar --since {HELD}"
        " --format csv,xlsx,ocsf,html"
    )
    host.does(
        f"sallyport audit export --out requests --since {HELD}"
        " --from 17 --event llm.request --team claims"
    )
    host.does(f"sallyport audit prove {receipt} --out call")
    public = open_export.create_key(shell.desk / "auditor.key")
    (host.desk / "auditor.pub").write_text(f"{public}\n", encoding="utf-8")
    host.does("sallyport audit export --out november.age --recipient auditor.pub")
    for name in ("november.tar", "november.age", "requests", "call"):
        put(host.desk / name, shell, f"/media/stick/{name}")


def rewrite(shell: Shell) -> None:
    """Let whoever holds the host hide refusals and sign that with its real key."""
    forged = shell.place("/media/stick/second")
    shutil.copytree(shell.desk / "november", forged)
    lines = [
        line.replace(b'"team":"legal"', b'"team":"other"')
        if b'"event":"llm.refused"' in line
        else line
        for line in records_of(forged)
    ]
    (forged / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    opened = open_host(host_of(shell).home)
    with opened.look() as connection:
        resign(forged, ledger=thief_of(opened, connection))
    opened.database.dispose()


def sample(shell: Shell) -> None:
    """Have the host send one record that was left out before."""
    host = host_of(shell)
    host.does("sallyport audit prove 24 --out sample")
    put(host.desk / "sample", shell, "/media/stick/sample")


AUDITOR = Scene(
    prepare=prepare,
    deeds={
        "somebody-rewrites-what-happened": rewrite,
        "the-host-sends-record-24": sample,
    },
)
"""The scene of ``auditor.md``."""
