"""``sallyport model``: what this host can serve."""

import typer

from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.registry.catalogue import active_models

app = typer.Typer(help="What this host can serve.", no_args_is_help=True)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the models of every active generation."""
    with host().look() as connection:
        models = active_models(connection)
    value = {
        "models": [
            {
                "name": model.name,
                "sha256": model.sha256,
                "size_bytes": model.size_bytes,
                "licence": model.terms.licence,
                "origin": model.terms.origin,
                "allowed_regions": list(model.terms.allowed_regions),
                "channel": model.channel,
                "version": model.version,
                "generation": model.generation,
            }
            for model in models
        ]
    }
    rows = tuple(
        (
            model.name,
            f"{model.size_bytes:,}",
            model.terms.licence,
            ",".join(model.terms.allowed_regions),
            f"{model.channel} {model.version}",
            model.sha256[:12],
        )
        for model in models
    )
    headings = ("MODEL", "BYTES", "LICENCE", "REGIONS", "BUNDLE", "SHA-256")
    show(value, table(headings, rows), as_json=as_json)
