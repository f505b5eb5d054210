"""``sallyport db``: the schema of this host's database."""

import typer

from appliance.cli.options import Json, home
from appliance.cli.output import show
from appliance.db.session import (
    check_commissioned,
    create_database,
    restore_triggers,
)

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


@app.command("restore-triggers")
def restore(as_json: Json = False) -> None:
    """Make the triggers that keep the ledger append-only as this release has them.

    For a ledger that is halted by changed-triggers; its release asks for it. What was
    changed while they were gone is shown by `audit fsck` and by checkpoints held
    elsewhere.
    """
    place = home().database
    check_commissioned(place)
    changed = restore_triggers(place)
    lines = (
        *(f"restored       {name}" for name in changed),
        *(() if changed else ("every trigger is as it was made",)),
    )
    show({"restored": list(changed)}, lines, as_json=as_json)
