"""A hub for tests: speaks the protocol of huggingface.co on a loopback socket.

It lists repositories with the sizes and digests of their large files, redirects
downloads to another host name as the real one does, and serves ranges. What it
says and what it serves can be made to differ, and one connection to break.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "maker/tiny-GGUF"


@dataclass(kw_only=True, slots=True)
class Request:
    """One request that arrived."""

    method: str
    host: str
    path: str
    range: str
    authorization: str


@dataclass
class Hub:
    """What the hub has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)
    licence: str | None = None
    token: str = ""
    gated: bool = False
    status: int = 0
    listing: bytes | None = None
    sha: str = COMMIT
    cut_after: int | None = None
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self, method: str) -> list[str]:
        return [each.path for each in self.requests if each.method == method]

    def model_info(self) -> bytes:
        if self.listing is not None:
            return self.listing
        siblings = [self._sibling(name, data) for name, data in self.files.items()]
        card = {"license": self.licence} if self.licence else None
        value = {"id": REPO, "sha": self.sha, "siblings": siblings, "cardData": card}
        return json.dumps(value).encode()

    def _sibling(self, name: str, data: bytes) -> dict[str, object]:
        value: dict[str, object] = {
            "rfilename": name,
            "size": len(data),
            "blobId": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        }
        if name not in self.plain:
            value["lfs"] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "pointerSize": 135,
            }
        return value


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._note()
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/cdn/"):
            self._serve(path.removeprefix("/cdn/"))
        elif self._refuse(path):
            return
        elif path == f"/api/models/{REPO}/revision/{COMMIT}":
            self._answer(200, self.hub.model_info())
        else:
            name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/")
            self._answer(
                302, b"", Location=f"http://localhost:{self.hub.port}/cdn/{name}"
            )

    def _refuse(self, path: str) -> bool:
        hub = self.hub
        authorised = not hub.token or self.headers["Authorization"] == (
            f"Bearer {hub.token}"
        )
        if hub.status:
            self._answer(hub.status, b"")
        elif not path.startswith((f"/api/models/{REPO}/", f"/{REPO}/")):
            self._answer(404, b"", **{"X-Error-Code": "RepoNotFound"})
        elif hub.gated or not authorised:
            self._answer(401, b"", **{"X-Error-Code": "GatedRepo"})
        elif COMMIT not in path:
            self._answer(404, b"", **{"X-Error-Code": "RevisionNotFound"})
        else:
            return False
        return True

    def _serve(self, name: str) -> None:
        data = self.hub.served.get(name, self.hub.files[name])
        begin = int((self.headers["Range"] or "bytes=0-")[6:].partition("-")[0])
        status = 206 if self.headers["Range"] else 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) - begin))
        if status == 206:
            total = len(data)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        self.end_headers()
        end = len(data) if self.hub.cut_after is None else self.hub.cut_after
        self.hub.cut_after = None
        self.wfile.write(data[begin:end])
        self.close_connection = end < len(data)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note(self) -> None:
        self.hub.requests.append(
            Request(
                method=self.command,
                host=self.headers["Host"],
                path=self.path,
                range=self.headers["Range"] or "",
                authorization=self.headers["Authorization"] or "",
            )
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve ``hub`` on a loopback port until the end of the block."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
