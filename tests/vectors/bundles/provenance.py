"""Vendors' signatures that were forged, or that are of something else.

The bundle is signed as it should be, and so is the key or CA that its publisher
pinned; what the host finds under them is not. Signatures by ECDSA differ each time
they are made, so none of these is committed.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from appliance.import_steps.host import Step
from bundleformat.artifact import Provenance, SigningMode
from bundleformat.digest import sha256_of
from tests.support.gguf_bytes import RawGguf
from tests.support.vendor import Vendor, statement
from tests.vectors.bundles.case import (
    DIGEST,
    EXPIRED,
    LIMIT,
    MALFORMED,
    SIGNATURE,
    Case,
    of_made,
)
from tests.vectors.bundles.estate import CREATED, NEXT, Delivery, Files, bundle
from tests.vectors.bundles.models import TERMS

MODEL: Final = Delivery(
    kind="model",
    name="model",
    path="models/model.gguf",
    data=RawGguf().packed(),
    model=TERMS,
)
FILES: Final = {"model.gguf": sha256_of(MODEL.data)}
PATH: Final = "provenance/model.sig"
BEGIN: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
END: Final = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)


@cache
def vendor() -> Vendor:
    """Return the vendor whose key and CA the publisher pinned."""
    return Vendor()


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    of = _case
    yield of("by-another-key", SIGNATURE, lambda: Vendor().sign(FILES))
    yield of("altered", SIGNATURE, lambda: _with("payload", lambda _: "e30="))
    yield of("cut", SIGNATURE, lambda: _signature(lambda text: text[:8]))
    yield of("of-other-files", DIGEST, lambda: vendor().sign({"a": sha256_of(b"a")}))
    yield of("of-nothing", DIGEST, lambda: vendor().sign({}))
    yield of("that-is-no-json", MALFORMED, lambda: b"-----BEGIN PGP SIGNATURE-----\n")
    yield of("with-a-key-twice", MALFORMED, lambda: b'{"a":1,"a":2}')
    yield of("of-deep-lists", LIMIT, lambda: b"[" * 100_000)
    yield of(
        "of-another-type",
        MALFORMED,
        lambda: _with("payloadType", lambda _: "x"),
        where=f"{PATH}.dsseEnvelope.payloadType",
    )
    yield of(
        "of-another-statement",
        MALFORMED,
        lambda: _dump(vendor().bundle({**statement(FILES), "predicateType": "x"})),
        where=f"{PATH}: statement.predicateType",
    )
    yield from _certificates()


def _certificates() -> Iterator[Case]:
    ended = CREATED[NEXT] - dt.timedelta(seconds=1)
    yield _case(
        "certificate-absent",
        MALFORMED,
        lambda: vendor().sign(FILES),
        where=f"{PATH}.verificationMaterial.x509CertificateChain",
        mode="certificate",
    )
    for name, code, chain in (
        ("expired", EXPIRED, lambda: (vendor().leaf(begin=BEGIN, end=ended),)),
        (
            "of-another-ca",
            SIGNATURE,
            lambda: (Vendor(key=vendor().key).leaf(begin=BEGIN, end=END),),
        ),
        (
            "for-another-purpose",
            SIGNATURE,
            lambda: (vendor().leaf(begin=BEGIN, end=END, is_ca=True),),
        ),
    ):
        yield _case(
            f"certificate-{name}",
            code,
            _chained(chain),
            mode="certificate",
        )


def _case(
    name: str,
    code: str,
    data: Callable[[], bytes],
    *,
    where: str = PATH,
    mode: SigningMode = "key",
) -> Case:
    return of_made(
        f"signature-{name}",
        code,
        where,
        lambda: _bundle(data(), mode),
        step=Step.EXAMINE,
    )


def _bundle(data: bytes, mode: SigningMode) -> Files:
    pinned: Provenance = vendor().provenance(
        mode=mode, ca=vendor().ca(begin=BEGIN, end=END)
    )
    return bundle(
        MODEL,
        Delivery(
            kind="provenance", name="model", path=PATH, data=data, provenance=pinned
        ),
    )


def _chained(chain: Callable[[], tuple[bytes, ...]]) -> Callable[[], bytes]:
    return lambda: vendor().sign(FILES, *chain())


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _with(field: str, change: Callable[[str], str]) -> bytes:
    value = vendor().bundle(statement(FILES))
    envelope = value["dsseEnvelope"]
    envelope[field] = change(envelope[field])
    return _dump(value)


def _signature(change: Callable[[str], str]) -> bytes:
    value = vendor().bundle(statement(FILES))
    made = value["dsseEnvelope"]["signatures"][0]
    made["sig"] = change(made["sig"])
    return _dump(value)
