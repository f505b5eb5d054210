"""A whole import against hashing and copying the same bytes, as people do it today.

The subject is ``sallyport bundle import`` as an operator runs it, from the start
of its process to its end: signatures, copy while hashing, the model's examination
in a confined child, its trial load, and the activation, all of it durable. Beside
it lie three ways of doing the least that could be called an import:

- ``sha256sum`` and ``cp`` of every chunk, which is what the goal is stated in;
- the same and ``sync``, because an import is not over before the disk has it;
- ``sha256sum -c``, ``tar -x`` and ``sync``, a script that many sites have.

None of them checks a signature or looks at the model. The OpenSSL that the import
uses, with ``cp`` and ``sync``, is the floor against which noise is measured.
"""

import datetime as dt
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from os import sync
from pathlib import Path

from appliance.clock import SystemClock
from appliance.commission_flow import initialise_trust
from appliance.home import Home
from benchmarks.measure import Plan, Rounds, measure_rounds
from benchmarks.report import Figure, Result
from benchmarks.watch import Peak, watch
from tests.support.gguf_writer import TinyModel, tensor_shapes, write_model
from tests.support.publisher import Published, make_root, new_keys, publish_bundle

MODEL_BYTES = 2 * 2**30
"""Size of the model, to the nearest layer."""

CHUNK_BYTES = 2**30
"""Size of the bundle's chunks: that of a build that is told nothing else."""

WEIGHT_BYTES = 4
"""Size of one weight of the model, an f32."""


def run(plan: Plan) -> Result:
    """Measure imports into new hosts, in turns with the two ways of copying."""
    subject = _Import(bundle=_make_bundle(plan), scratch=plan.scratch)
    _make_archive(subject)
    rounds = measure_rounds(
        subject.copy_with_openssl,
        [
            subject.copy_with_sha256sum,
            subject.unpack_with_tar,
            subject.import_whole,
            subject.inspect,
        ],
        repetitions=plan.repetitions,
    )
    return _result(rounds, subject.size_bytes, peak=subject.import_watched())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Import:
    """One bundle on disk, and the ways to bring its bytes somewhere else."""

    bundle: Published
    scratch: Path

    @property
    def archive(self) -> Path:
        return self.scratch / "medium" / "bundle.tar"

    @property
    def chunks(self) -> list[Path]:
        return sorted(p for p in (self.bundle.folder / "c").rglob("*") if p.is_file())

    @property
    def size_bytes(self) -> int:
        return sum(chunk.stat().st_size for chunk in self.chunks)

    def copy_with_sha256sum(self) -> Mapping[str, float]:
        target = self._empty("copy")
        began = time.perf_counter()
        _command("sha256sum", *self.chunks)
        _command("cp", *self.chunks, target)
        copied = time.perf_counter()
        self._sync(target)
        return {
            "sha256sum_cp_s": copied - began,
            "sha256sum_s": time.perf_counter() - began,
        }

    def unpack_with_tar(self) -> Mapping[str, float]:
        """Do what a script does that was given an archive and its digest."""
        target = self._empty("unpacked")
        script = "sha256sum --quiet -c bundle.tar.sha256 && tar -xf bundle.tar -C "
        began = time.perf_counter()
        done = subprocess.run(
            ["/bin/sh", "-c", f"{script} '{target}' && sync -f '{target}'"],
            cwd=self.archive.parent,
            check=False,
        )
        _check(done.returncode, "tar")
        elapsed = time.perf_counter() - began
        shutil.rmtree(target)
        return {"tar_s": elapsed}

    def copy_with_openssl(self) -> Mapping[str, float]:
        target = self._empty("copy")
        began = time.perf_counter()
        for chunk in self.chunks:
            with chunk.open("rb") as file:
                hashlib.file_digest(file, "sha256")
        _command("cp", *self.chunks, target)
        self._sync(target)
        return {"floor_s": time.perf_counter() - began}

    def import_whole(self) -> Mapping[str, float]:
        return {"import_s": self._timed("import")}

    def inspect(self) -> Mapping[str, float]:
        """Do what does not grow with the bundle: start, and verify its metadata."""
        return {"inspect_s": self._timed("inspect")}

    def import_watched(self) -> Peak:
        """Import once more, not timed, looking at its memory and its disk."""
        home = self._new_host()
        with self._bundle_command("import", home) as process:
            peak = watch(process, folders=(home.staging, home.store))
        self._check_bundle_command(process.returncode)
        return peak

    def _timed(self, command: str) -> float:
        """Return how long ``sallyport bundle COMMAND`` takes on a new host."""
        home = self._new_host()
        began = time.perf_counter()
        with self._bundle_command(command, home) as process:
            status = process.wait()
        elapsed = time.perf_counter() - began
        self._check_bundle_command(status)
        return elapsed

    def _sync(self, target: Path) -> None:
        _command("sync", *(target / chunk.name for chunk in self.chunks))

    def _bundle_command(self, command: str, home: Home) -> subprocess.Popen[bytes]:
        with self._messages.open("wb") as messages:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "appliance"),
                    *("bundle", command, str(self.bundle.folder)),
                ],
                env={"SALLYPORT_HOME": str(home.root), "PATH": "/usr/bin:/bin"},
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
            )

    def _check_bundle_command(self, status: int | None) -> None:
        if status != 0:
            raise RuntimeError(self._messages.read_text("utf-8"))

    @property
    def _messages(self) -> Path:
        """Where the last command's messages went."""
        return self.scratch / "messages.txt"

    def _new_host(self) -> Home:
        home = Home(self._empty("host"))
        initialise_trust(
            home,
            self.bundle.root,
            fingerprint=self.bundle.fingerprint,
            clock=SystemClock(),
        )
        sync()
        return home

    def _empty(self, name: str) -> Path:
        """Return an empty folder; nobody's earlier writes are left to be synced."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        sync()
        return folder


def _make_bundle(plan: Plan) -> Published:
    """Publish a model of random weights, of the planned size, in several chunks."""
    model = plan.scratch / "model.gguf"
    write_model(model, _model_of(plan.amount(MODEL_BYTES)))
    now = SystemClock().now().replace(microsecond=0)
    expires = now + dt.timedelta(days=30)
    keys = new_keys()
    bundle = publish_bundle(
        plan.scratch / "bundle",
        models=[("large", model, None)],
        keys=keys,
        roots=[make_root(keys, expires=expires)],
        chunk_bytes=plan.amount(CHUNK_BYTES),
        created=now,
        expires=expires,
    )
    model.unlink()
    return bundle


def _make_archive(subject: _Import) -> None:
    """Pack the bundle's chunks as sites do that have no bundles."""
    archive = subject.archive
    archive.parent.mkdir()
    _command("tar", Path("-cf"), archive, Path("-C"), subject.bundle.folder, Path("c"))
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (archive.parent / f"{archive.name}.sha256").write_text(
        f"{digest}  {archive.name}\n"
    )


def _model_of(size_bytes: int) -> TinyModel:
    """Return a model that decodes and whose tensors take about ``size_bytes``."""

    def shaped(layers: int) -> TinyModel:
        # As wide as Llama 3.2 1B: a deep and narrow model of the same size would
        # have a KV cache that no model has, and the trial load would fill it.
        return TinyModel(
            layers=layers, embedding=2048, heads=32, kv_heads=8, feed_forward=8192
        )

    bare, one = _tensor_bytes(shaped(0)), _tensor_bytes(shaped(1))
    return shaped(max(1, round((size_bytes - bare) / (one - bare))))


def _tensor_bytes(model: TinyModel) -> int:
    total = 0
    for _, shape in tensor_shapes(model):
        elements = 1
        for extent in shape:
            elements *= extent
        total += elements * WEIGHT_BYTES
    return total


def _command(program: str, *arguments: Path) -> None:
    done = subprocess.run(
        [program, *map(str, arguments)], stdout=subprocess.DEVNULL, check=False
    )
    _check(done.returncode, program)


def _check(status: int | None, program: str) -> None:
    if status != 0:
        raise RuntimeError(f"{program} ended with status {status}")


def _result(rounds: Rounds, size_bytes: int, *, peak: Peak) -> Result:
    size_mib = size_bytes / 2**20
    return Result(
        name="import_bundle",
        title=f"a whole import of {size_mib:.0f} MiB",
        ratios=(
            Figure(
                name="speed of import / that of sha256sum + cp",
                values=rounds.ratio("sha256sum_cp_s", "import_s"),
            ),
            Figure(
                name="speed of import / that of sha256sum -c + tar + sync",
                values=rounds.ratio("tar_s", "import_s"),
            ),
            Figure(
                name="import / (sha256sum + cp + sync)",
                values=rounds.ratio("import_s", "sha256sum_s"),
            ),
            Figure(
                name="import / (one OpenSSL SHA-256 + cp + sync)",
                values=rounds.ratio("import_s", "floor_s"),
            ),
            Figure(
                name="share that every import takes: inspect / import",
                values=rounds.ratio("inspect_s", "import_s"),
            ),
            Figure(
                name="disk peak: (staging + store) / bundle",
                values=(peak.disk_bytes / size_bytes,),
            ),
            Figure(
                name="memory peak of the import process / bundle",
                values=(peak.rss_bytes / size_bytes,),
            ),
        ),
        context=(
            *(
                Figure(
                    name=name,
                    values=tuple(size_mib / each for each in rounds.of(key)),
                    unit="MiB/s",
                )
                for name, key in (
                    ("import", "import_s"),
                    ("sha256sum + cp", "sha256sum_cp_s"),
                    ("sha256sum + cp + sync", "sha256sum_s"),
                    ("sha256sum -c + tar + sync", "tar_s"),
                    ("one OpenSSL SHA-256 + cp + sync", "floor_s"),
                )
            ),
            Figure(
                name="memory peak of the import process",
                values=(peak.rss_bytes / 2**20,),
                unit="MiB",
            ),
        ),
        noise=Figure(
            name="noise: OpenSSL + cp + sync / itself", values=rounds.noise("floor_s")
        ),
        notes=(
            "the medium is in the page cache for all of them",
            "the goal is 0.8 or more for the speed against sha256sum + cp",
            "the peaks are of one more import, which was not timed",
        ),
    )
