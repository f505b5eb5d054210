"""The builder's machine: models of every kind, and a vendor's signature."""

import datetime as dt
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bundleformat.digest import sha256_of
from bundleformat.moments import format_moment
from tests.bundler.sources.test_ollama import OllamaStore
from tests.support.gguf_writer import TinyModel, write_model, write_split_model
from tests.support.guides.play import Scene
from tests.support.guides.scenes.publisher import make_root_of
from tests.support.guides.shell import Shell
from tests.support.vendor import Vendor

NOTES = "notes-1b-00001-of-00002.gguf"
"""The first file of the split model."""


def prepare(shell: Shell) -> None:
    """Put the models where the spec of the guide finds them."""
    make_root_of(shell)
    models = shell.desk / "models"
    models.mkdir()
    model = write_model(models / "claims-1b.gguf", TinyModel(embedding=128))
    write_split_model(models / "notes-1b.gguf", TinyModel(seed=3), tensors=12)
    assert (models / NOTES).is_file()
    _fill_store(shell.desk / "ollama")
    _sign(shell.desk, model)
    (shell.desk / "site.cedar").write_text(POLICY, encoding="utf-8")
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    shell.known["--source-date"] = format_moment(moment.replace(microsecond=0))


POLICY = """\
@id("site-no-health-data")
@reason("health data is not processed on this host")
forbid (principal, action, resource)
when { context.data_classes.contains("phi") };
"""


def _fill_store(folder: Path) -> None:
    store = OllamaStore(folder)
    model = write_model(folder.with_suffix(".gguf"), TinyModel(seed=5))
    store.write(
        store.blob(model.read_bytes(), "model"),
        store.blob(b"{{ .Prompt }}", "template"),
        store.blob(b"Apache License\nVersion 2.0\n", "license"),
    )
    model.unlink()


def _sign(desk: Path, model: Path) -> None:
    vendor = Vendor()
    folder = desk / "vendor"
    folder.mkdir()
    signed = vendor.sign({model.name: sha256_of(model.read_bytes())})
    (folder / f"{model.name}.sig").write_bytes(signed)
    public = vendor.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "vendor.pub").write_bytes(pem)


def next_version(shell: Shell) -> None:
    """Let somebody write the spec of the next version."""
    spec = shell.desk / "bundle.toml"
    text = spec.read_text("utf-8").replace("version = 1", "version = 2")
    text = text.replace('["in-blr"]', '["in-blr", "in-bom"]', 1)
    spec.write_text(text, encoding="utf-8")
    policy = POLICY.replace('contains("phi")', 'containsAny(["phi", "pci"])')
    (shell.desk / "site.cedar").write_text(policy, encoding="utf-8")


BUILDER = Scene(prepare=prepare, deeds={"the-next-version-is-written": next_version})
"""The scene of ``builder.md``."""
