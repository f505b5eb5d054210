"""Compiles the published OCSF schema into one small JSON Schema for our tests.

    python compile_schema.py EXPORT.json > ocsf-1.8.0.schema.json

EXPORT.json is what https://schema.ocsf.io/1.8.0/export/v2/schema serves; the wheel
``ocsf-json-schema`` 1.2.0 carries it as ``ocsf_json_schema/ocsf/1.8.0.json``.
Only facts are taken over: names, types, what is required, numbers of enumerations,
constraints. OCSF is published under the Apache License 2.0 by the OCSF project.

An attribute of a profile is allowed, and required where OCSF requires it, only in
an event that names the profile. An attribute whose object is not in ``OBJECTS`` is
refused: an event that uses one needs its object compiled.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

SHA256 = "221b43d05787aa68d03233589f0eabdab192531d3e4740b856b2e0a4d6d91f82"

CLASSES = (
    "base_event",
    "event_log_actvity",  # spelled so by OCSF
    "account_change",
    "entity_management",
    "application_lifecycle",
    "api_activity",
    "application_error",
)
OBJECTS = frozenset(
    {
        "account",
        "actor",
        "ai_model",
        "api",
        "authorization",
        "managed_entity",
        "message_context",
        "metadata",
        "network_endpoint",
        "policy",
        "product",
        "request",
        "resource_details",
        "response",
        "service",
        "user",
    }
)
PLAIN: dict[str, dict[str, Any]] = {
    "boolean_t": {"type": "boolean"},
    "float_t": {"type": "number"},
    "integer_t": {"type": "integer"},
    "long_t": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "string_t": {"type": "string"},
    "json_t": {},
}

Schema = dict[str, Any]


def scalar(name: str, types: Schema) -> Schema:
    """The schema of one of OCSF's types."""
    if name in PLAIN:
        return dict(PLAIN[name])
    stated = types[name]
    schema = scalar(stated["type"], types)
    if "regex" in stated and _compiles(stated["regex"]):
        schema["pattern"] = stated["regex"]
    if "max_len" in stated:
        schema["maxLength"] = stated["max_len"]
    if "range" in stated:
        schema["minimum"], schema["maximum"] = stated["range"]
    return schema


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def attribute(stated: Schema, types: Schema) -> Schema | bool:
    """The schema of one attribute, or False where its object is not compiled."""
    if stated["type"] == "object_t":
        name = stated["object_type"]
        if name == "object":
            schema: Schema = {"type": "object"}
        elif name in OBJECTS:
            schema = {"$ref": f"#/$defs/{name}"}
        else:
            return False
    else:
        schema = scalar(stated["type"], types)
        if "enum" in stated:
            whole = schema["type"] == "integer"
            values = [int(v) if whole else v for v in stated["enum"]]
            schema = {"enum": sorted(values)}
    return {"type": "array", "items": schema} if stated.get("is_array") else schema


def compiled(stated: Schema, types: Schema, *, event: bool) -> Schema:
    """The schema of a class or of an object."""
    plain: Schema = {}
    required: list[str] = []
    profiles: dict[str, dict[str, str]] = {}
    for name, each in sorted(stated["attributes"].items()):
        of = each.get("profiles") or []
        if of and not event:
            continue
        plain[name] = attribute(each, types)
        if of:
            for profile in of:
                profiles.setdefault(profile, {})[name] = each["requirement"]
        elif each["requirement"] == "required":
            required.append(name)
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: each for name, each in plain.items() if each is not False},
        "required": required,
    }
    every = [_only_with(profile, names) for profile, names in sorted(profiles.items())]
    some = stated.get("constraints", {}).get("at_least_one", [])
    if some:
        every.append({"anyOf": [{"required": [name]} for name in some]})
    return {**schema, "allOf": every} if every else schema


def _only_with(profile: str, names: dict[str, str]) -> Schema:
    named = {
        "properties": {"profiles": {"contains": {"const": profile}}},
        "required": ["profiles"],
    }
    must = [name for name, requirement in names.items() if requirement == "required"]
    return {
        "if": {"properties": {"metadata": named}},
        "then": {"required": must},
        "else": {"properties": dict.fromkeys(names, False)},
    }


def schema_of(export: Schema) -> Schema:
    """The JSON Schema of every event of ``CLASSES``."""
    types = export["dictionary"]["types"]["attributes"]
    definitions = {
        name: compiled(export["objects"][name], types, event=False)
        for name in sorted(OBJECTS)
    }
    chosen = []
    for name in CLASSES:
        stated = export["classes"][name]
        definitions[f"class_{name}"] = compiled(stated, types, event=True)
        chosen.append(
            {
                "if": {"properties": {"class_uid": {"const": stated["uid"]}}},
                "then": {"$ref": f"#/$defs/class_{name}"},
            }
        )
    uids = sorted(export["classes"][name]["uid"] for name in CLASSES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": (
            f"Compiled from OCSF {export['version']} (Apache-2.0, "
            "https://schema.ocsf.io) by compile_schema.py."
        ),
        "type": "object",
        "required": ["class_uid"],
        "properties": {"class_uid": {"enum": uids}},
        "allOf": chosen,
        "$defs": definitions,
    }


def main() -> None:
    """Compile the file that is named."""
    data = Path(sys.argv[1]).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit("that is not the export of OCSF 1.8.0 that this was written for")
    schema = schema_of(json.loads(data))
    sys.stdout.write(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
