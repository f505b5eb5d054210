"""Starts the servers that are compared, each with the same model and limits."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.peers import Peers
from tests.support.real_host import RealHost, commission, serving

START_LIMIT_S = 120.0
"""How long a server may take to load its model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: What it is called in tables.
        key: The key of a team.
        other_key: The key of another team; the same where a server knows none.
        pid: Its main process.
    """

    name: str
    url: str
    model: str
    key: str
    other_key: str
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What every server is given.

    Attributes:
        model: The GGUF file.
        slots: Requests that run at once.
        cells: Cells of the cache, for all of them together.
        threads: Compute threads.
        context_tokens: Tokens of one request; 0 is an equal part of the cells.
        spare_slots: Requests besides, of teams of whom none runs; ours alone.
        extra: Lines for our settings file, below ``[engine]``.
    """

    model: Path
    slots: int
    cells: int
    threads: int = 1
    context_tokens: int = 0
    spare_slots: int = 0
    extra: str = ""


@contextmanager
def sallyport(folder: Path, load: Load) -> Iterator[Server]:
    """Our whole server: HTTP, keys, policy, ledger, engine process."""
    settings = (
        f"[engine]\nthreads = {load.threads}\ncells = {load.cells}\n"
        f"context_tokens = {load.context_tokens or load.cells // load.slots}\n"
        f"sequences = {load.slots}\nspare_sequences = {load.spare_slots}\n"
        f"queued_requests = 64\n{load.extra}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    host = commission(folder, models=[("bench", load.model)], settings=settings)
    with serving(host):
        assert host.process is not None  # noqa: S101  # it is being served
        yield Server(
            name="sallyport",
            url=host.url,
            model="bench",
            key=host.key,
            other_key=_other_key(host),
            pid=host.process.pid,
        )


@contextmanager
def llama_server(peers: Peers, load: Load, *options: str) -> Iterator[Server]:
    """llama.cpp's own server, without its web pages."""
    port = free_port()
    command = [str(peers.server), "-m", str(load.model), "--port", str(port)]
    command += ["-c", str(load.cells), "-np", str(load.slots), "--no-webui"]
    command += ["-t", str(load.threads), "-tb", str(load.threads), *options]
    with _started(command, port=port, path="/health") as pid:
        yield _peer("llama-server", port, pid)


@contextmanager
def llama_cpp_server(load: Load) -> Iterator[Server]:
    """The server inside llama-cpp-python, which answers one request at a time."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(load.model)]
    command += ["--port", str(port), "--n_ctx", str(load.cells)]
    command += ["--n_threads", str(load.threads)]
    command += ["--n_threads_batch", str(load.threads)]
    # Left alone, it cuts off an answer when the next request comes.
    command += ["--interrupt_requests", "false"]
    with _started(command, port=port, path="/v1/models") as pid:
        yield _peer("llama_cpp.server", port, pid)


@contextmanager
def batch_example(folder: Path, peers: Peers, load: Load) -> Iterator[Server]:
    """llama-cpp-python's example of a server that batches."""
    port = free_port()
    config = {
        "server": {"host": "127.0.0.1", "port": port},
        "model": {
            "alias": "bench",
            "path": str(load.model),
            "n_ctx": load.cells,
            "n_seq_max": 2 * load.slots,
            "n_batch": 512,
            "n_ubatch": 512,
            "threads": load.threads,
            "threads_batch": load.threads,
            "kv_unified": True,
        },
    }
    path = folder / "example.json"
    path.write_text(json.dumps(config), "utf-8")
    command = [sys.executable, str(peers.batch_example), "-C", str(path)]
    with _started(command, port=port, path="/v1/models") as pid:
        yield _peer("example batching server", port, pid)


def _other_key(host: RealHost) -> str:
    made = host.run("key", "create", "--team", "light", "--json")
    return str(json.loads(made.stdout)["key"])


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _peer(name: str, port: int, pid: int) -> Server:
    url = f"http://127.0.0.1:{port}"
    return Server(
        name=name, url=url, model="bench", key="none", other_key="none", pid=pid
    )


@contextmanager
def _started(command: Sequence[str], *, port: int, path: str) -> Iterator[int]:
    """Start a server, wait until it answers, and end it whatever happens."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LLAMA_LOG_VERBOSITY": "0"},
    ) as process:
        try:
            _wait(process, url=f"http://127.0.0.1:{port}{path}")
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", *, url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # a loopback address
                if answer.status == 200:  # OK
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"a peer did not start: {process.args!r}")
