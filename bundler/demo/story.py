"""The story of the demo, step by step, from keys to a tampered export."""

import hashlib
import json
import re
import secrets
import shutil
from pathlib import Path

from openai import OpenAI, OpenAIError, PermissionDeniedError

from bundler.demo.stage import Stage, StepFailedError

DEMO_MODEL = Path(__file__).with_name("sallyport-demo.q8_0.gguf")
"""A trained model of 1.6 million parameters; see MODEL_CARD.md beside it."""

DEMO_MODEL_SHA256 = "d151979c67898516205ff91892a8d7bdbf1532d797029d761b277084d2015998"
"""What the file above must be; checked before it is used."""

DEMO_NAME = "sallyport-demo"
"""What that model is called."""

QUESTION = "What is a bundle?"
"""Asked of either model; the small trained one knows the answer."""

ANSWER = (
    "A bundle is one signed release: metadata, targets and chunks. "
    "It belongs to a channel and has a version that only goes up."
)
"""What it answers, word for word."""

FORBIDDEN_BY = "site-no-health-data"
"""The policy of the bundle that the second question meets."""

SPEC = """\
channel = "main"
version = 1

[[models]]
name = "{name}"
path = "{path}"
licence = "{licence}"
origin = "{origin}"
allowed_regions = ["in-blr"]

[[policies]]
name = "site"
path = "site.cedar"
"""

SITE_POLICY = """\
@id("site-no-health-data")
@reason("health data is not processed on this host")
forbid (principal, action, resource)
when { context.data_classes.contains("phi") };
"""


def play(stage: Stage, *, model: Path | None) -> None:
    """Play every step; the scratch folder stays for the reader.

    Raises:
        StepFailedError: A step did not go as told.
    """
    stage.say(
        "Sallyport takes a language model across an air gap and proves what it did.",
        f"Everything below happens in {stage.folder} and touches no network.",
    )
    name = _prepare(stage, model)
    fingerprint = _connected_machine(stage)
    shutil.copytree(stage.folder / "bundle", stage.folder / "stick")
    vkey = _isolated_host(stage, fingerprint)
    _questions(stage, name)
    _bad_stick(stage, fingerprint)
    _auditor(stage, vkey)
    stage.say(
        "",
        f"Every step went as told. Everything is still in {stage.folder}",
        "What to try next, from the folder of the clone:",
        "   source .venv/bin/activate",
        f"   cd {stage.folder} && export SALLYPORT_HOME=$PWD/host",
        "   sallyport serve             and point any OpenAI client at it",
        "   sallyport audit status      what the ledger holds",
        "   sallyport bundle inspect stick",
    )


def _prepare(stage: Stage, model: Path | None) -> str:
    """Write the inputs a person would have; return the model's name."""
    if model is None:
        digest = hashlib.sha256(DEMO_MODEL.read_bytes()).hexdigest()
        if digest != DEMO_MODEL_SHA256:
            raise StepFailedError(f"the demo model's digest is {digest}")
        name, licence, origin = DEMO_NAME, "Apache-2.0", "Sallyport"
    else:
        name = re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-")[:64] or "model"
        licence, origin = "unknown", "a file of yours"
    (stage.folder / "models").mkdir()
    shutil.copyfile(model or DEMO_MODEL, stage.folder / "models" / f"{name}.gguf")
    spec = SPEC.format(
        name=name, path=f"models/{name}.gguf", licence=licence, origin=origin
    )
    (stage.folder / "spec.toml").write_text(spec, encoding="utf-8")
    (stage.folder / "site.cedar").write_text(SITE_POLICY, encoding="utf-8")
    passphrase = stage.folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    return name


def _connected_machine(stage: Stage) -> str:
    """Make keys, a trust root, a site certificate and a bundle."""
    bundler = "sallyport-bundler"
    unlock = ("--passphrase-file", "passphrase")
    stage.place("The connected machine")
    stage.step("Make four keys: two stay offline, two sign releases.")
    for key in ("root", "compliance", "release", "bundler"):
        stage.run(bundler, "keygen", f"keys/{key}", *unlock)
    stage.step("Make the trust root. Its fingerprint goes to the host on paper.")
    stage.run(
        *(bundler, "root", "init", "--channel", "main", "--out", "root"),
        *("--root-key", "keys/root.key", "--release-key", "keys/release.pub"),
        *("--bundler-key", "keys/bundler.pub"),
        *("--compliance-key", "keys/compliance.pub", *unlock),
    )
    root = (stage.folder / "root" / "1.root.json").read_bytes()
    stage.step("The compliance officer certifies where the isolated host stands.")
    stage.run(
        *(bundler, "site", "issue", "--key", "keys/compliance.key", "--site", "blr-07"),
        *("--region", "in-blr", "--jurisdiction", "IN", "--out", "site.json", *unlock),
    )
    stage.step("Build a signed bundle and carry it over on a stick.")
    stage.run(
        *(bundler, "build", "spec.toml", "--root", "root", "--out", "bundle"),
        *("--release-key", "keys/release.key", "--bundler-key", "keys/bundler.key"),
        *unlock,
    )
    return hashlib.sha256(root).hexdigest()


def _isolated_host(stage: Stage, fingerprint: str) -> str:
    """Commission the host and import; return the ledger's verifier key file."""
    stage.place("The isolated host")
    stage.step("Trust begins with the fingerprint on paper, compared by a person.")
    _commission(stage, fingerprint, home="host")
    stage.run("sallyport", "site", "install", "site.json")
    stage.step("The auditor writes down the ledger's key, on this day and no other.")
    vkey = stage.run("sallyport", "audit", "key").strip()
    stage.step("Verify the stick: who signed it, and does every byte agree.")
    stage.run("sallyport", "bundle", "verify", "stick")
    stage.step("Import it: copied while hashing, examined, activated at once.")
    stage.run("sallyport", "bundle", "import", "stick")
    return vkey


def _commission(stage: Stage, fingerprint: str, *, home: str) -> None:
    stage.run(
        *("sallyport", "trust", "init", "--root", "stick/metadata/1.root.json"),
        *("--fingerprint", fingerprint),
        home=home,
    )


def _questions(stage: Stage, name: str) -> None:
    """Serve, ask, and be refused."""
    stage.step("A team gets an API key; it is shown once and stored only as a digest.")
    created = stage.run("sallyport", "key", "create", "--team", "claims", "--json")
    key = json.loads(created)["key"]
    stage.step("Serve the OpenAI API.")
    url = stage.start_server("sallyport", "serve", "--port", "0")
    client = OpenAI(base_url=f"{url}/v1", api_key=key)
    try:
        stage.step("Ask with the official openai client, streamed.")
        _ask(stage, client, name)
        stage.step("Ask again with a label that policy forbids.")
        _ask_forbidden(stage, client, name)
    except OpenAIError as error:
        raise StepFailedError(f"the server answered otherwise: {error}") from error
    finally:
        client.close()
    stage.stop_server()


def _ask(stage: Stage, client: OpenAI, name: str) -> None:
    stage.say(f"   > {QUESTION}")
    stream = client.chat.completions.create(
        model=name,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=48,
        stream=True,
    )
    answer = [
        chunk.choices[0].delta.content
        for chunk in stream
        if chunk.choices and chunk.choices[0].delta.content
    ]
    text = "".join(answer)
    shown = text if text.isprintable() else repr(text)
    stage.say(f"   < {shown}", f"   (streamed in {len(answer)} pieces)")
    if not answer or (name == DEMO_NAME and text != ANSWER):
        raise StepFailedError("the model did not answer as it was trained to")


def _ask_forbidden(stage: Stage, client: OpenAI, name: str) -> None:
    stage.say(f"   > {QUESTION}    (with the header X-Data-Class: phi)")
    try:
        client.chat.completions.create(
            model=name,
            messages=[{"role": "user", "content": QUESTION}],
            extra_headers={"X-Data-Class": "phi"},
        )
    except PermissionDeniedError as error:
        stage.say(f"   < HTTP {error.status_code}")
        body = error.response.json()["error"]
        for policy, reason in zip(body["policy_ids"], body["reasons"], strict=True):
            stage.say(f"     policy {policy}: {reason}")
        if FORBIDDEN_BY not in body["policy_ids"]:
            raise StepFailedError("the site's own policy had no say") from error
        return
    raise StepFailedError("the forbidden request was answered")


def _bad_stick(stage: Stage, fingerprint: str) -> None:
    """Flip one bit on a copy of the stick and give it to a second host."""
    stage.step("A second host is commissioned in the same way.")
    _commission(stage, fingerprint, home="second-host")
    stage.step("Its stick has one bit of the model flipped: nothing is imported.")
    shutil.copytree(stage.folder / "stick", stage.folder / "bad-stick")
    chunk = max(
        (path for path in (stage.folder / "bad-stick" / "c").rglob("*")),
        key=lambda path: path.stat().st_size if path.is_file() else 0,
    )
    _flip_one_bit(chunk)
    stage.run(
        *("sallyport", "bundle", "import", "bad-stick"),
        expected_status=3,
        home="second-host",
    )


def _flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _auditor(stage: Stage, vkey: str) -> None:
    """Export, verify elsewhere, tamper, verify again."""
    stage.step("The auditor asks for an export of the ledger.")
    stage.run("sallyport", "audit", "export", "--out", "export")
    stage.place("The auditor's machine")
    stage.step("Verify the export with the one file that came with it.")
    shutil.copytree(stage.folder / "export", stage.folder / "auditor")
    verify = ("python", "-I", "auditor/verify.py", "auditor", "--key", vkey)
    stage.run(*verify)
    stage.step("Change one word of one record and verify again.")
    records = stage.folder / "auditor" / "records.jsonl"
    before = records.read_bytes()
    after = before.replace(b'"claims"', b'"legals"', 1)
    if before == after:
        raise StepFailedError("the export has no record of the team's request")
    records.write_bytes(after)
    stage.run(*verify, expected_status=2)
