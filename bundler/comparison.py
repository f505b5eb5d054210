"""What would change for a host that goes from one bundle to another. Pure.

Manifests are compared, not files: a chunk that both name is the same bytes, and
need not be carried again.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tuf.api.metadata import Root

from bundleformat.artifact import Artifact
from bundleformat.digest import Sha256
from bundleformat.manifest import Manifest
from bundleformat.moments import format_moment
from bundler.contents.since import chunks_of
from bundler.progress import size

Status = Literal["added", "removed", "replaced", "same"]
"""What becomes of an artifact of one kind and name."""

MARKS: Final[Mapping[Status, str]] = {
    "added": "+",
    "removed": "-",
    "replaced": "~",
    "same": "=",
}

TERMS: Final = (
    "licence",
    "origin",
    "allowed_regions",
    "intended_use",
    "review_by",
    "architecture",
    "context_length",
)
"""What is compared of two models of one name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TermChange:
    """A term of a model, before and after."""

    term: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What becomes of one artifact.

    Attributes:
        kind: Its kind.
        name: Its name.
        status: What becomes of it.
        before_bytes: Its size before, 0 if it was not there.
        after_bytes: Its size after, 0 if it is not there.
        carry_bytes: Bytes of it that the host does not have yet.
        terms: Terms that change, of a model in both.
        text: A policy's change, line by line, as ``diff -u`` writes it.
    """

    kind: str
    name: str
    status: Status
    before_bytes: int
    after_bytes: int
    carry_bytes: int
    terms: tuple[TermChange, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two bundles.

    Attributes:
        manifest: What it delivers.
        root: The newest root that it carries.
        policies: The text of each of its policies whose bytes are at hand.
    """

    manifest: Manifest
    root: Root
    policies: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Everything that would change.

    Attributes:
        before: The bundle that the host has.
        after: The bundle that it would get.
        changes: One entry for every artifact of either.
        carry_bytes: What a differential bundle would have to carry.
        keys: A sentence for every key that a role gains or loses.
    """

    before: Side
    after: Side
    changes: tuple[Change, ...]
    carry_bytes: int
    keys: tuple[str, ...]


def compare(before: Side, after: Side) -> Comparison:
    """Return what changes from ``before`` to ``after``."""
    old = {(item.kind, item.name): item for item in before.manifest.artifacts}
    new = {(item.kind, item.name): item for item in after.manifest.artifacts}
    held = chunks_of(before.manifest)
    fresh = {
        chunk.sha256: chunk.size_bytes
        for item in after.manifest.artifacts
        for chunk in item.chunks
        if chunk.sha256 not in held
    }
    changes = tuple(
        _change(old.get(key), new.get(key), fresh=fresh, texts=(before, after))
        for key in sorted(old.keys() | new.keys())
    )
    return Comparison(
        before=before,
        after=after,
        changes=changes,
        carry_bytes=sum(fresh.values()),
        keys=_key_changes(before.root, after.root),
    )


def comparison_value(found: Comparison) -> dict[str, Any]:
    """Return what ``--json`` shows of a comparison."""
    return {
        "channel": found.after.manifest.channel,
        "before": _side_value(found.before),
        "after": _side_value(found.after),
        "carry_bytes": found.carry_bytes,
        "keys": list(found.keys),
        "changes": [_change_value(change) for change in found.changes],
    }


def comparison_lines(found: Comparison) -> tuple[str, ...]:
    """Return what a person reads of a comparison."""
    before, after = found.before, found.after
    versions = f"{before.manifest.version} -> {after.manifest.version}"
    lines = [
        f"channel {after.manifest.channel}: version {versions}",
        _root_line(before.root.version, after.root.version),
        *(f"  {sentence}" for sentence in found.keys),
    ]
    for change in found.changes:
        lines += _change_lines(change)
    whole = sum(item.size_bytes for item in after.manifest.artifacts)
    lines.append(f"to carry: {size(found.carry_bytes)} of {size(whole)}")
    return tuple(lines)


def _root_line(before: int, after: int) -> str:
    if before == after:
        return f"root version {after} in both"
    return f"root version {before} -> {after}"


def _change(
    old: Artifact | None,
    new: Artifact | None,
    *,
    fresh: Mapping[Sha256, int],
    texts: tuple[Side, Side],
) -> Change:
    known = new or old
    if known is None:
        raise RuntimeError("neither bundle has this artifact")
    terms = _term_changes(old, new)
    return Change(
        kind=known.kind,
        name=known.name,
        status=_status(old, new, changed=bool(terms)),
        before_bytes=0 if old is None else old.size_bytes,
        after_bytes=0 if new is None else new.size_bytes,
        carry_bytes=_carried(new, fresh),
        terms=terms,
        text=_text_change(known, old, new, texts) if known.kind == "policy" else (),
    )


def _status(old: Artifact | None, new: Artifact | None, *, changed: bool) -> Status:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "same" if old.sha256 == new.sha256 and not changed else "replaced"


def _carried(new: Artifact | None, fresh: Mapping[Sha256, int]) -> int:
    chunks = () if new is None else new.chunks
    return sum(fresh.get(sha256, 0) for sha256 in {chunk.sha256 for chunk in chunks})


def _term_changes(old: Artifact | None, new: Artifact | None) -> tuple[TermChange, ...]:
    if old is None or new is None or old.model is None or new.model is None:
        return ()
    both = (
        (term, _shown(getattr(old.model, term)), _shown(getattr(new.model, term)))
        for term in TERMS
    )
    return tuple(
        TermChange(term=term, before=before, after=after)
        for term, before, after in both
        if before != after
    )


def _shown(value: str | int | tuple[str, ...] | None) -> str:
    if value is None:
        return "none"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _text_change(
    known: Artifact,
    old: Artifact | None,
    new: Artifact | None,
    texts: tuple[Side, Side],
) -> tuple[str, ...]:
    pair = [
        None if item is None else side.policies.get(item.name)
        for item, side in zip((old, new), texts, strict=True)
    ]
    if (old is not None and pair[0] is None) or (new is not None and pair[1] is None):
        return ()
    before, after = ((text or "").splitlines() for text in pair)
    return tuple(
        difflib.unified_diff(before, after, known.path, known.path, lineterm="")
    )


def _key_changes(before: Root, after: Root) -> tuple[str, ...]:
    sentences = []
    for role in sorted(after.roles):
        old, new = set(before.roles[role].keyids), set(after.roles[role].keyids)
        sentences += [f"{role}: new key {key}" for key in sorted(new - old)]
        sentences += [f"{role}: key withdrawn {key}" for key in sorted(old - new)]
        counts = (before.roles[role].threshold, after.roles[role].threshold)
        if counts[0] != counts[1]:
            sentences.append(f"{role}: {counts[0]} -> {counts[1]} signatures wanted")
    return tuple(sentences)


def _change_lines(change: Change) -> list[str]:
    sizes = {
        "added": size(change.after_bytes),
        "removed": size(change.before_bytes),
        "replaced": f"{size(change.before_bytes)} -> {size(change.after_bytes)}, "
        f"{size(change.carry_bytes)} to carry",
        "same": size(change.after_bytes),
    }
    mark = MARKS[change.status]
    return [
        f"{mark} {change.kind} {change.name}  {sizes[change.status]}",
        *(f"    {each.term}: {each.before} -> {each.after}" for each in change.terms),
        *(f"    {line}" for line in change.text),
    ]


def _side_value(side: Side) -> dict[str, Any]:
    return {
        "version": side.manifest.version,
        "created": format_moment(side.manifest.created),
        "root_version": side.root.version,
    }


def _change_value(change: Change) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "name": change.name,
        "status": change.status,
        "before_bytes": change.before_bytes,
        "after_bytes": change.after_bytes,
        "carry_bytes": change.carry_bytes,
        "terms": {
            each.term: {"before": each.before, "after": each.after}
            for each in change.terms
        },
        "text": list(change.text),
    }
