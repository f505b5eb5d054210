"""Reads one policy file into rules, each with its id, reason and own body.

Refuses what could not be explained to a caller or would not mean what it says:
a policy without ``@id`` or ``@reason``, a template, an attribute or type that
the schema does not have.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import cedarpy

from appliance.policy.source import read_source
from bundleformat.errors import MalformedError

POLICY_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")
"""What an ``@id`` looks like. Matched in full."""

MAX_REASON_CHARACTERS = 200
"""Longest ``@reason`` or ``@control``; they travel in answers and records."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One policy.

    Attributes:
        effect: ``permit`` or ``forbid``.
        reason: The ``@reason``, as shown to callers.
        control: The ``@control``: a clause of the site's rule book, or empty.
        file: The file it was read from.
        cedar_json: The policy in Cedar's JSON form.
    """

    policy_id: str
    effect: str
    reason: str
    control: str
    file: str
    cedar_json: str

    @property
    def where(self) -> str:
        """Return the place to look at, as ``file: policy id``."""
        return f"{self.file}: {self.policy_id}"


def parse_file(data: bytes, *, name: str, schema: cedarpy.Schema) -> tuple[Rule, ...]:
    """Return the policies of a file, each valid under the schema.

    Raises:
        MalformedError: A fault; ``where`` is ``file: policy id`` once it is known.
        LimitExceededError: The file, a policy or the nesting is above its limit.
    """
    text = read_source(data, where=name)
    bodies = _parse_bodies(text, name)
    # The engine calls the policies of a file policy0, policy1, ... in its order.
    places = {key: _place(body, key, name) for key, body in bodies.items()}
    rules = tuple(_parse_rule(body, places[key], name) for key, body in bodies.items())
    result = cedarpy.validate_policies(text, schema)
    for error in result.errors:
        raise MalformedError(
            "does not fit the schema",
            where=places.get(error.policy_id, name),
            actual=re.sub(r"^for policy `[^`]*`, ", "", error.error),
        )
    if not result.validation_passed:
        raise MalformedError("does not fit the schema", where=name)
    return rules


def _parse_bodies(text: str, name: str) -> dict[str, dict[str, Any]]:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
        # Read back now, so that what the set cannot hold is blamed on its file.
        cedarpy.PolicySet.from_json_str(json.dumps(parsed))
    except RecursionError as error:
        raise MalformedError("an expression nests too deeply", where=name) from error
    except ValueError as error:
        raise MalformedError(
            "not a policy Cedar can read", where=name, actual=str(error)
        ) from error
    if parsed["templates"] or parsed["templateLinks"]:
        raise MalformedError("templates are not supported", where=name)
    bodies: dict[str, dict[str, Any]] = parsed["staticPolicies"]
    if not bodies:
        raise MalformedError("no policy in this file", where=name)
    return bodies


def _place(body: dict[str, Any], key: str, name: str) -> str:
    policy_id = body.get("annotations", {}).get("id")
    if policy_id is None:
        number = int(key.removeprefix("policy")) + 1
        return f"{name}: policy number {number}"
    return f"{name}: {policy_id[:64]}"


def _parse_rule(body: dict[str, Any], place: str, name: str) -> Rule:
    annotations = body.get("annotations", {})
    policy_id = annotations.get("id")
    if policy_id is None or not POLICY_ID.fullmatch(policy_id):
        raise MalformedError(
            "no usable @id",
            where=place,
            expected="a lower-case letter, then up to 63 of a-z, 0-9 and -",
            hint='Put @id("name") above the policy.',
        )
    return Rule(
        policy_id=policy_id,
        effect=body["effect"],
        reason=_note(annotations, "reason", place),
        control=_note(annotations, "control", place)
        if "control" in annotations
        else "",
        file=name,
        cedar_json=json.dumps(body),
    )


def _note(annotations: dict[str, Any], name: str, place: str) -> str:
    note = annotations.get(name)
    if not note or len(note) > MAX_REASON_CHARACTERS or not note.isprintable():
        raise MalformedError(
            f"no usable @{name}",
            where=place,
            expected=f"1 to {MAX_REASON_CHARACTERS} printable characters",
            hint=f'Say in @{name}("...") what a refused caller should read.',
        )
    return str(note)
