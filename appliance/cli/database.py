"""``sallyport db``: the schema of this host's database."""

import typer

from appliance.cli.options import Json, home
from appliance.cli.output import show
from appliance.db.session import check_commissioned, create_database

app = typer.Typer(help="The schema of this host's database.", no_args_is_help=True)


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Bring the database to this release's schema; nothing is lost."""
    place = home().database
    check_commissioned(place)
    create_database(place).dispose()
    show(
        {"database": str(place)},
        (f"{place} has this release's schema",),
        as_json=as_json,
    )
