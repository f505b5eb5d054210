"""What the database says is active, and what requests are shown of it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from appliance.engine.embedding import ModelEngine
from appliance.identity import site
from appliance.intake import trust_state
from appliance.policy.facts import ModelFacts, SiteFacts
from appliance.registry.calibrations import calibrations
from appliance.registry.captures import UNLIMITED, model_captures
from appliance.registry.catalogue import ActiveModel, active_models, active_policies
from appliance.registry.taken_out import taken_out_digests
from appliance.request_steps.parts import ServedModel
from appliance.settings import Capture
from bundleformat.digest import Sha256
from bundleformat.site_certificate import SiteCertificate


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What is active at one moment; equal snapshots need no refresh.

    Attributes:
        models: Every model that is offered, by name.
        policies: Every site policy in force: its name and its digest.
        site: The certificate that counts, or None.
        measured: What was measured on hosts of this kind, of models.
        captures: The most that is captured of calls to a model, by its name.
        taken_out: Models that no engine is started for; no two snapshots differ
            by them.
    """

    models: tuple[ActiveModel, ...]
    policies: tuple[tuple[str, Sha256], ...]
    site: SiteCertificate | None
    measured: Mapping[Sha256, bytes]
    captures: Mapping[str, Capture]
    taken_out: frozenset[Sha256] = field(default=frozenset(), compare=False)


def read_snapshot(
    connection: Connection, *, host_kind: str, now: dt.datetime
) -> Snapshot:
    """Return what is active now on a host of that kind."""
    trusted = trust_state.all_compliance_keys(connection)
    return Snapshot(
        models=active_models(connection),
        policies=tuple(
            (policy.name, policy.sha256) for policy in active_policies(connection)
        ),
        site=site.current(connection, keys=trusted, now=now),
        measured=calibrations(connection, host=host_kind),
        captures=model_captures(connection),
        taken_out=taken_out_digests(connection),
    )


def served(
    model: ActiveModel, engine: ModelEngine, *, capture: Capture = UNLIMITED
) -> ServedModel:
    """Return a model as requests are decided and served."""
    return ServedModel(
        facts=ModelFacts(
            name=model.name,
            sha256=model.sha256,
            origin=model.terms.origin,
            licence=model.terms.licence,
            allowed_regions=model.terms.allowed_regions,
        ),
        generation=model.generation,
        activated_s=int(dt.datetime.fromisoformat(model.activated_ts).timestamp()),
        engine=engine,
        capture=capture,
    )


def site_facts(certificate: SiteCertificate) -> SiteFacts:
    """Return a certificate as policies see it."""
    return SiteFacts(
        site=certificate.site,
        region=certificate.region,
        jurisdictions=certificate.jurisdictions,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )
