"""What a person does on a clean host, with the Python that is there and nothing else.

Runs inside the root file system that ``clean_host.sh`` makes; it is no test by
itself. What is printed last is one JSON object, which the test judges. The words in
capitals are filled in by the test, as a person would from the transfer sheet.
"""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

SHEET = json.loads("""SHEET""")
MEDIUM = Path("/media/volume")
SALLYPORT = "/opt/sallyport/bin/sallyport"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def network() -> dict[str, Any]:
    """Return what there is of a network, and of packages."""
    names = [name for _, name in socket.if_nameindex()]
    try:
        socket.create_connection(("198.51.100.1", 80), timeout=2).close()
        reached = True
    except OSError:
        reached = False
    pip = subprocess.run(
        [sys.executable, "-m", "pip"], capture_output=True, check=False
    )
    return {"interfaces": names, "reached": reached, "pip": pip.returncode == 0}


def install() -> str:
    # 1. Compare the installer with the sheet.
    data = (MEDIUM / "install.py").read_bytes()
    if hashlib.sha256(data).hexdigest() != SHEET["installer"].replace(" ", ""):
        sys.exit("another installer than the sheet says")
    # 2. Run it, with the two digests of the sheet.
    return run(
        *("python3", str(MEDIUM / "install.py")),
        *("--manifest-digest", SHEET["manifest"], "--fingerprint", SHEET["root"]),
    )


def serve() -> "subprocess.Popen[bytes]":
    Path("/var/lib/sallyport/sallyport.toml").write_text("[engine]\nthreads = 1\n")
    certificate = Path("/root/site.cert")
    certificate.write_text(SHEET["site"])
    run(SALLYPORT, "site", "install", str(certificate))
    return subprocess.Popen(
        [SALLYPORT, "serve", "--port", "8080"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def ask(key: str, server: "subprocess.Popen[bytes]") -> Any:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": SHEET["question"]}],
        "temperature": 0,
        "max_tokens": 64,
    }
    request = urllib.request.Request(
        "http://127.0.0.1:8080/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except OSError as error:
            if time.monotonic() > deadline or server.poll() is not None:
                said = server.stderr.read().decode() if server.stderr else ""
                sys.exit(f"no answer: {error}\n{said}")
            time.sleep(0.2)


def main() -> None:
    found: dict[str, Any] = network()
    found["installer"] = install()
    server = serve()
    try:
        made = json.loads(run(SALLYPORT, "key", "create", "--team", "ward", "--json"))
        found["answer"] = ask(str(made["key"]), server)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    found["served"] = server.returncode
    tools = run(SALLYPORT, "environment", "path", "tools").strip()
    found["tool"] = run(
        f"{tools}/bin/python", "-c", "import helper; print(helper.NAME)"
    )
    found["audit"] = json.loads(run(SALLYPORT, "audit", "status", "--json"))
    found["pip_afterwards"] = network()["pip"]
    found["left"] = sorted(path.name for path in Path("/opt/sallyport").iterdir())
    print(json.dumps(found))  # noqa: T201 - the test reads it


main()
