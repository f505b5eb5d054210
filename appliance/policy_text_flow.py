"""Writes the policies behind the ids that an export's records name.

A record names the set that decided by a digest over the digests of its files. The
host keeps no sets: it has the installed core files and the site files of its
generations. So sets are put together again, and one is told only where its digest is
the one that a record names: no other text can be. A set with the core files of
another release of Sallyport, or of a generation that is gone, is named as not here.

``policies.jsonl`` has a line for each set, by its digest: ``set``, and ``files`` with
the digests of its files, whose RFC 8785 bytes hash to it. Then comes a line for each
file that is here: its ``sha256`` and its ``text``.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.audit_formats.record import EVIDENCE
from appliance.core_policies import core_files
from appliance.host import OpenHost
from appliance.policy.compile import CoreFiles, set_listing
from appliance.policy.source import MAX_FILE_BYTES
from appliance.registry.generations import list_generations
from appliance.registry.store import Store
from bundleformat import strictjson
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import Error

FILE: Final = "policies.jsonl"
"""What it is called in an export."""

MAX_SETS: Final = 1_000
"""Sets that are named in one export; those that records name first."""

MAX_MADE: Final = 10_000
"""Sets that are put together and compared; the newest generations' first."""

_SET = re.compile(rb'"(?:policy_)?set_sha256":"([0-9a-f]{64})"')
"""Where a record's canonical bytes name a set. In a text a quote is escaped."""

_Site = Mapping[str, Sha256]
"""The digest of each site file, by its name."""


def write_policies(host: OpenHost, folder: Path) -> Iterator[str]:
    """Write the sets that the records in ``folder`` name; yield the file's name.

    Nothing is written where no record names any.

    Raises:
        StorageFaultError, OSError: The disk refused.
    """
    named = _named(folder / EVIDENCE)
    if not named:
        return
    core = core_files()
    found = put_together(named, core=core, sites=_sites(host))
    texts = dict(_texts(host, core, found))
    with (folder / FILE).open("xb") as file:
        for sha256 in sorted(named):
            line: dict[str, object] = {"set": sha256}
            if sha256 in found:
                line["files"] = set_listing(core, found[sha256])
            file.write(strictjson.encode(line) + b"\n")
        for sha256, text in sorted(texts.items()):
            file.write(strictjson.encode({"sha256": sha256, "text": text}) + b"\n")
    yield FILE


def _named(records: Path) -> frozenset[str]:
    named: dict[str, None] = {}
    with records.open("rb") as file:
        for line in file:
            for match in _SET.finditer(line):
                if len(named) < MAX_SETS:
                    named[match[1].decode("ascii")] = None
    return frozenset(named)


def _sites(host: OpenHost) -> Iterator[_Site]:
    """Yield the site files that can have been in force together, the newest first.

    Of each channel one generation was active, or none before its first.
    """
    with host.look() as connection:
        generations = list_generations(connection)
    channels: dict[str, list[_Site]] = {}
    for generation in generations:
        policies: _Site = {
            each.name: each.sha256
            for each in generation.manifest.artifacts
            if each.kind == "policy"
        }
        known = channels.setdefault(generation.channel, [])
        if policies not in known:
            known.append(policies)
    choices: Sequence[Sequence[_Site]] = [
        [*known, *([{}] if {} not in known else [])] for known in channels.values()
    ]
    for chosen in itertools.product(*choices):
        yield {name: sha for site in chosen for name, sha in site.items()}


def put_together(
    named: frozenset[str], *, core: CoreFiles, sites: Iterable[_Site]
) -> dict[str, _Site]:
    """Return the site files of each named set that these files make."""
    found: dict[str, _Site] = {}
    for site in itertools.islice(sites, MAX_MADE):
        sha256 = sha256_of(strictjson.encode(set_listing(core, site)))
        if sha256 in named:
            found[sha256] = site
        if len(found) == len(named):
            break
    return found


def _texts(
    host: OpenHost, core: CoreFiles, found: Mapping[str, _Site]
) -> Iterator[tuple[str, str]]:
    """Yield every file of these sets that is here, by its digest."""
    if not found:
        return
    for data in (core.schema, core.classes, *(data for _, data in core.policies)):
        yield sha256_of(data), data.decode("utf-8")
    store = Store(host.home.store)
    for sha256 in {each for site in found.values() for each in site.values()}:
        try:
            with store.open(sha256) as file:
                data = file.read(MAX_FILE_BYTES + 1)
            text = data.decode("utf-8")
        except (Error, OSError, UnicodeDecodeError):
            # What is lost is not told, and keeps nobody from the evidence.
            continue
        if sha256_of(data) == sha256:
            yield sha256, text
