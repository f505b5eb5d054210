"""Reads the decision tables of ``policies/tables`` and the installed core set."""

import datetime as dt
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.policy.classes import Classes
from appliance.policy.compile import PolicyFiles
from appliance.policy.facts import ModelFacts, RequestFacts, SiteFacts
from appliance.policy.labels import effective_labels
from appliance.resources import folder

FACTS = {
    "allowed_regions": list,
    "certified": bool,
    "class_headers": list,
    "clearance": str,
    "default_class": str,
    "jurisdictions": list,
    "key_expires": dt.datetime,
    "licence": str,
    "model": str,
    "model_sha256": str,
    "not_after": dt.datetime,
    "not_before": dt.datetime,
    "now": dt.datetime,
    "origin": str,
    "region": str,
    "region_headers": list,
    "site": str,
    "team": str,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    table: str
    name: str
    given: dict[str, Any]
    site: PolicyFiles
    allow: bool
    policies: tuple[str, ...]


def table_paths() -> list[Path]:
    return sorted((folder("policies") / "tables").glob("*.toml"))


def read_table(path: Path) -> list[Row]:
    table = tomllib.loads(path.read_text("utf-8"))
    given = table.pop("given")
    assert given.keys() == FACTS.keys(), path
    files = tuple(
        (name, (folder("policies") / name).read_bytes()) for name in table.pop("site")
    )
    rows = [_read_row(row, path=path, given=given, site=files) for row in table["row"]]
    assert len({row.name for row in rows}) == len(rows), path
    return rows


def _read_row(
    row: dict[str, Any], *, path: Path, given: dict[str, Any], site: PolicyFiles
) -> Row:
    assert row.keys() | {"given"} == {"name", "given", "decision", "policies"}, row
    facts = given | row.get("given", {})
    assert facts.keys() == FACTS.keys(), row
    for name, kind in FACTS.items():
        assert isinstance(facts[name], kind), (row, name)
    return Row(
        table=path.stem,
        name=row["name"],
        given=facts,
        site=site,
        allow={"allow": True, "deny": False}[row["decision"]],
        policies=tuple(row["policies"]),
    )


def facts_of(given: dict[str, Any], classes: Classes) -> RequestFacts:
    return RequestFacts(
        key_id="AbCd1234",
        key_expires=given["key_expires"],
        team=given["team"],
        clearance=given["clearance"],
        labels=effective_labels(
            classes,
            default_class=given["default_class"],
            class_headers=tuple(given["class_headers"]),
            region_headers=tuple(given["region_headers"]),
        ),
        model=ModelFacts(
            name=given["model"],
            sha256=given["model_sha256"],
            origin=given["origin"],
            licence=given["licence"],
            allowed_regions=tuple(given["allowed_regions"]),
        ),
        site=_site(given) if given["certified"] else None,
        now=given["now"],
    )


def _site(given: dict[str, Any]) -> SiteFacts:
    return SiteFacts(
        site=given["site"],
        region=given["region"],
        jurisdictions=tuple(given["jurisdictions"]),
        not_before=given["not_before"],
        not_after=given["not_after"],
    )
