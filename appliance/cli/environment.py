"""``sallyport environment``: where a team's programs find their Python."""

from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.options import Json, host
from appliance.cli.output import show, table
from appliance.environments.place import environment_folder, is_installed
from appliance.registry.catalogue import Generation, active_generations
from appliance.registry.generations import list_generations
from bundleformat.artifact import Artifact
from bundleformat.errors import MissingError

app = typer.Typer(
    help="Environments of Python that bundles delivered.", no_args_is_help=True
)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the environments of every generation, and which can be used."""
    opened = host()
    root = opened.home.root / "environments"
    with opened.look() as connection:
        generations = list_generations(connection)
    found = [
        _value(generation, artifact, root)
        for generation in generations
        for artifact in generation.manifest.artifacts
        if artifact.kind == "lock"
    ]
    rows = tuple(
        (
            each["name"],
            f"{each['channel']} {each['version']}",
            "active" if each["active"] else "",
            each["role"],
            f"Python {each['python']}, {each['cpu']}",
            str(each["wheels"]),
            _state(each),
        )
        for each in found
    )
    headings = ("NAME", "BUNDLE", "GENERATION", "ROLE", "TARGET", "WHEELS", "PLACE")
    show({"environments": found}, table(headings, rows), as_json=as_json)


@app.command()
def path(
    name: Annotated[str, typer.Argument(help="Name of the environment.")],
    as_json: Json = False,
) -> None:
    """Print the folder of the active environment of that name.

    For a team's own programs: "$(sallyport environment path NAME)"/bin/python
    """
    opened = host()
    root = opened.home.root / "environments"
    with opened.look() as connection:
        generations = active_generations(connection)
    for generation in generations:
        for artifact in generation.manifest.artifacts:
            if artifact.kind == "lock" and artifact.name == name:
                folder = _installed(generation, artifact, root)
                value = {"name": name, "folder": str(folder)}
                show(value, (str(folder),), as_json=as_json)
                return
    raise MissingError(
        "no active generation has an environment of that name",
        where=name,
        hint="Run: sallyport environment list",
    )


def _installed(generation: Generation, artifact: Artifact, root: Path) -> Path:
    folder = environment_folder(root, generation.manifest_sha256, artifact.name)
    if is_installed(folder):
        return folder
    target = artifact.environment
    raise MissingError(
        "the environment is not installed on this host",
        where=artifact.name,
        expected=str(folder),
        hint="It is Sallyport's own: install.py on the medium installs it."
        if target is not None and target.role == "appliance"
        else "This host did not fit it, or it was lost; that is repaired with: "
        "sallyport store repair MEDIUM",
    )


def _value(generation: Generation, artifact: Artifact, root: Path) -> dict[str, Any]:
    target = artifact.environment
    folder = environment_folder(root, generation.manifest_sha256, artifact.name)
    return {
        "name": artifact.name,
        "channel": generation.channel,
        "version": generation.version,
        "generation": generation.id,
        "active": generation.active,
        "role": "" if target is None else target.role,
        "python": "" if target is None else target.python,
        "cpu": "" if target is None else target.cpu,
        "wheels": 0 if target is None else len(target.wheels),
        "folder": str(folder) if is_installed(folder) else None,
    }


def _state(value: dict[str, Any]) -> str:
    if value["folder"] is not None:
        return str(value["folder"])
    return "by install.py" if value["role"] == "appliance" else "not installed"
