"""Turns policy files into one checked set, parsed once and then only asked.

The core set is part of the installation and always in force; a site's files,
which arrive in bundles, add to it and can neither replace nor switch off any
of it. A file with one fault is refused whole. Policies are known by their own
``@id``, never by their position.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cedarpy

from appliance.policy.classes import Classes, parse_classes
from appliance.policy.parse import Rule, parse_file
from bundleformat import strictjson
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    RefusalError,
)

MAX_SITE_FILES = 64
"""Most policy files of a site. Unit: files."""

MAX_POLICIES = 1_024
"""Most policies of a set, core and site together. Unit: policies."""

CORE_PREFIX = "core-"
"""What the ids of the core set, and only those, start with."""

REQUIRED_CORE = (
    "core-clearance",
    "core-key-expired",
    "core-model-region",
    "core-permit-chat",
    "core-request-region",
    "core-site-certificate",
    "core-site-certificate-expired",
    "core-site-certificate-not-yet-valid",
)
"""Without each of these, an installation decides nothing at all."""

RESERVED_IDS = ("core-evaluation-error", "core-no-permit")
"""Ids of denials that no policy stands behind; see ``decide``."""

PolicyFiles = tuple[tuple[str, bytes], ...]
"""Named files, as read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreFiles:
    """The files of the installed ``policies/`` folder, as read.

    Attributes:
        schema: ``schema.cedarschema``.
        classes: ``classes.toml``.
        policies: Each ``core/*.cedar`` under its file name.
    """

    schema: bytes
    classes: bytes
    policies: PolicyFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicySet:
    """Checked policies, ready to be asked. Only ``compile_policies`` makes one.

    Attributes:
        rules: Every policy of the set, by id.
        classes: The data classes that labels and clearances name.
        sha256: Digest over the digests of all files, for records.
        policies: The engine's own form of the policies.
        schema: The engine's own form of the schema.
    """

    rules: tuple[Rule, ...]
    classes: Classes
    sha256: str
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema

    def reason(self, policy_id: str) -> str:
        """Return the ``@reason`` of a policy, or an empty string."""
        return next((r.reason for r in self.rules if r.policy_id == policy_id), "")


def compile_policies(core: CoreFiles, *, site: PolicyFiles = ()) -> PolicySet:
    """Return the set of the core policies and a site's own.

    Raises:
        MalformedError: A site file is not valid; ``where`` is ``file: policy id``.
        LimitExceededError: Too many, too large or too deeply nested.
        InternalFaultError: The installed core set is incomplete or damaged.
    """
    schema, classes, core_rules = _compile_core(core)
    rules = (*core_rules, *_compile_site(site, schema))
    if len(rules) > MAX_POLICIES:
        raise LimitExceededError(
            "too many policies",
            expected=f"at most {MAX_POLICIES}",
            actual=str(len(rules)),
        )
    _check_unique(rules)
    return PolicySet(
        rules=tuple(sorted(rules, key=lambda rule: rule.policy_id)),
        classes=classes,
        sha256=_digest(core, site),
        policies=_join(rules),
        schema=schema,
    )


def check_policies(core: CoreFiles, site: PolicyFiles) -> None:
    """Raise, as ``compile_policies`` does, unless the site's files are valid."""
    compile_policies(core, site=site)


def _compile_core(
    core: CoreFiles,
) -> tuple[cedarpy.Schema, Classes, tuple[Rule, ...]]:
    try:
        schema = cedarpy.Schema.from_str(core.schema.decode("utf-8"))
        classes = parse_classes(core.classes)
        rules = tuple(
            rule
            for name, data in core.policies
            for rule in parse_file(data, name=name, schema=schema)
        )
    except (RefusalError, ValueError) as error:
        raise _broken_core(str(error)) from error
    ids = {rule.policy_id for rule in rules}
    for missing in sorted(set(REQUIRED_CORE) - ids):
        raise _broken_core(f"{missing} is missing")
    for policy_id in sorted(ids):
        if not policy_id.startswith(CORE_PREFIX) or policy_id in RESERVED_IDS:
            raise _broken_core(f"{policy_id} is not a name for a core policy")
    return schema, classes, rules


def _broken_core(actual: str) -> InternalFaultError:
    return InternalFaultError(
        "the installed core policies are incomplete or damaged",
        where="policies",
        actual=actual,
        hint="Reinstall Sallyport from its wheel.",
    )


def _compile_site(site: PolicyFiles, schema: cedarpy.Schema) -> tuple[Rule, ...]:
    if len(site) > MAX_SITE_FILES:
        raise LimitExceededError(
            "too many policy files",
            expected=f"at most {MAX_SITE_FILES}",
            actual=str(len(site)),
        )
    names = [name for name, _ in site]
    if len(set(names)) != len(names):
        raise MalformedError("two policy files of the same name", where=names[0])
    rules = [
        rule
        for name, data in site
        for rule in parse_file(data, name=name, schema=schema)
    ]
    for rule in rules:
        if rule.policy_id.startswith(CORE_PREFIX):
            raise MalformedError(
                "only the installed core set may use this prefix",
                where=rule.where,
                expected=f"an @id that does not start with {CORE_PREFIX}",
            )
    return tuple(rules)


def _check_unique(rules: Iterable[Rule]) -> None:
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.policy_id, rule)
        if first is not rule:
            raise MalformedError(
                "another policy has this @id",
                where=rule.where,
                actual=first.where,
            )


def _join(rules: Iterable[Rule]) -> cedarpy.PolicySet:
    """Return one engine set whose policies go by their own ids."""
    bodies = ",".join(f"{json.dumps(r.policy_id)}:{r.cedar_json}" for r in rules)
    return cedarpy.PolicySet.from_json_str(
        f'{{"staticPolicies":{{{bodies}}},"templates":{{}},"templateLinks":[]}}'
    )


def set_listing(core: CoreFiles, site: Mapping[str, str]) -> dict[str, object]:
    """Return what names every file of a set; its RFC 8785 bytes hash to the set's.

    So an auditor can work it out from the files alone. ``site`` gives the digest of
    each of the site's files, by its name.
    """
    return {
        "schema": sha256_of(core.schema),
        "classes": sha256_of(core.classes),
        "core": {name: sha256_of(data) for name, data in core.policies},
        "site": dict(site),
    }


def _digest(core: CoreFiles, site: PolicyFiles) -> str:
    listed = set_listing(core, {name: sha256_of(data) for name, data in site})
    return sha256_of(strictjson.encode(listed))
