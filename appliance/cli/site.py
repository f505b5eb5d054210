"""``sallyport site``: where this host stands."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from appliance.admin_flow import install_site
from appliance.cli.options import Json, host, read_input
from appliance.cli.output import show
from appliance.clock import rfc3339
from appliance.identity.site import current
from appliance.intake.trust_state import all_compliance_keys
from bundleformat.errors import MalformedError, MissingError, RefusalError
from bundleformat.retention import Retention
from bundleformat.site_certificate import SiteCertificate

app = typer.Typer(help="Where this host stands.", no_args_is_help=True)


@app.command()
def install(
    certificate: Annotated[Path, typer.Argument(help="The certificate, site.json.")],
    as_json: Json = False,
) -> None:
    """Install a site certificate that a compliance key of the trust root signed."""
    opened, envelope = host(), read_input(certificate)
    try:
        installed = install_site(opened, envelope)
    except MalformedError as error:
        hint = "Name the file that `sallyport-bundler site issue` made."
        raise error.inside(str(certificate)).advised(hint) from error
    except RefusalError as error:
        raise error.inside(str(certificate)) from error
    _show(installed, as_json=as_json)


@app.command("show")
def show_site(as_json: Json = False) -> None:
    """Show the certificate that counts now."""
    opened = host()
    with opened.look() as connection:
        found = current(
            connection,
            keys=all_compliance_keys(connection),
            now=opened.clock.now(),
        )
    if found is None:
        raise MissingError(
            "no site certificate is installed",
            hint="Install one with: sallyport site install FILE",
        )
    _show(found, as_json=as_json)


def _show(certificate: SiteCertificate, *, as_json: bool) -> None:
    kept = certificate.retention
    value = {
        "site": certificate.site,
        "region": certificate.region,
        "jurisdictions": list(certificate.jurisdictions),
        "not_before": rfc3339(certificate.not_before),
        "not_after": rfc3339(certificate.not_after),
        "retention": None if kept is None else dataclasses.asdict(kept),
    }
    where = ", ".join(certificate.jurisdictions) or "none"
    line = (
        f"site {certificate.site} in region {certificate.region} "
        f"(jurisdictions: {where}), valid {certificate.not_before:%Y-%m-%d} "
        f"to {certificate.not_after:%Y-%m-%d}"
    )
    lines = (line, *((_retention(kept),) if kept is not None else ()))
    show(value, lines, as_json=as_json)


def _retention(kept: Retention) -> str:
    own = {"records": kept.records_days, "bodies": kept.bodies_days}
    said = [f"as long as {', '.join(kept.presets)} ask"] if kept.presets else []
    said += [f"{name} at least {days} days" for name, days in own.items() if days]
    return f"kept {', '.join(said) or 'for ever'}"
