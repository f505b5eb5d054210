"""``sallyport model``: what this host can serve."""

from pathlib import Path
from typing import Annotated, Any

import typer

from appliance import calibrate_flow, model_flow, plan_flow
from appliance.cli import model_calibrate, model_plan
from appliance.cli.confirm import Yes, check_confirmed
from appliance.cli.options import Json, check_readable, home, host
from appliance.cli.output import show, table
from appliance.cli.progress import watched
from appliance.compose import import_host
from appliance.engine.planning.choices import Choice
from appliance.model_flow import Listed, ModelCheck
from appliance.registry.captures import UNLIMITED
from appliance.registry.catalogue import ActiveModel
from appliance.settings import MAX_SEQUENCES, Capture, read_settings
from bundleformat.errors import DigestMismatchError

app = typer.Typer(help="What this host can serve.", no_args_is_help=True)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the models of every active generation.

    A review date that is over is marked. A model that was removed by hand is
    listed as such and not served; so is one that was taken out because its engine
    crashed again and again.
    """
    opened = host()
    with opened.look() as connection:
        listed = model_flow.list_models(connection)
    today = opened.clock.now().date()
    late = {each: model_flow.overdue(each.model, today=today) for each in listed}
    value = {
        "models": [
            {
                **_value(each.model),
                "review_overdue": late[each],
                "removed": each.removed,
                "taken_out": each.taken_out,
                "capture": each.capture,
            }
            for each in listed
        ]
    }
    rows = tuple(_row(each, late=late[each]) for each in listed)
    headings = ("MODEL", "BYTES", "LICENCE", "REGIONS", "BUNDLE", "REVIEW BY")
    extra = ("INTENDED USE", "SHA-256")
    show(value, table((*headings, *extra), rows), as_json=as_json)


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(help="One model; all of them without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every stored byte of the models again and compare it with its digest.

    Changes nothing. Ends with status 3 if anything is damaged or missing, and says
    what repairs it.
    """
    opened = host()
    with watched("reading models", as_json=as_json) as observer:
        checks = model_flow.verify_models(
            import_host(opened), name, progress=observer.on_progress
        )
    rows = tuple(
        (each.model.name, f"{each.model.size_bytes:,}", _verdict(each))
        for each in checks
    )
    value = {"models": [_check_value(each) for each in checks]}
    show(value, table(("MODEL", "BYTES", "STORED"), rows), as_json=as_json)
    for each in checks:
        if each.problems:
            raise DigestMismatchError(
                "a stored model is missing or has changed",
                where=each.model.name,
                actual=_verdict(each),
                hint=each.repair,
            )


@app.command()
def plan(
    model: Annotated[
        str,
        typer.Argument(
            help="A model in service; or a file, if it ends in .gguf or has a slash."
        ),
    ],
    users: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_SEQUENCES, help="Requests at once."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=64, max=2**24, help="Tokens of each, prompt and answer."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what an engine of a model takes, and how many users fit at which context.

    Measured by a confined process that loads no weights, against what is free now:
    what a running server has taken counts as taken. Without options it is planned
    as the settings say. Ends with status 4 if it does not fit.
    """
    named = home()
    choice: Choice | None = None
    if model.endswith(".gguf") or "/" in model:
        check_readable(Path(model))
        paths: tuple[Path, ...] = (Path(model),)
        settings = read_settings(named.root).engine
    else:
        opened = host()
        settings = opened.settings.engine
        paths, choice = calibrate_flow.chosen(import_host(opened), model, settings)
    found = plan_flow.plan_model(
        paths, settings, users=users, context_tokens=context, choice=choice
    )
    show(
        model_plan.value(model, found), model_plan.lines(model, found), as_json=as_json
    )
    refused = model_plan.refusal(model, found)
    if refused is not None:
        raise refused


@app.command()
def calibrate(
    name: Annotated[str, typer.Argument(help="A model in service.")],
    as_json: Json = False,
) -> None:
    """Measure how a model's cache and attention are fastest on this host.

    Takes minutes, all compute threads, and the memory of the model once more. The
    next load of the model goes by it, within what the settings allow: a cache of
    rounded numbers is taken only if `cache_type` says so. Every time is told as a
    ratio to llama.cpp's own choice.
    """
    opened = host()
    with watched("measuring", as_json=as_json) as observer:
        found = calibrate_flow.calibrate_model(
            import_host(opened),
            name,
            opened.settings.engine,
            progress=observer.on_progress,
        )
    show(
        model_calibrate.value(name, found),
        model_calibrate.lines(name, found),
        as_json=as_json,
    )


@app.command("set")
def set_model(
    name: Annotated[str, typer.Argument(help="A model in service.")],
    capture: Annotated[
        Capture,
        typer.Option(
            help="The most that is captured of prompts and answers, whatever a "
            "team's level; full: whatever that is."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Set the most that is captured of calls to a model.

    It holds from the next second on, for whatever bears the name: also after an
    import that brings other bytes under it.
    """
    changed = model_flow.set_capture(import_host(host()), name, capture)
    line = f"captured of calls to {changed.name} at most: {capture}"
    show({"name": changed.name, "capture": capture}, (line,), as_json=as_json)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="A model in service.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take a model out of service on this host, without a bundle.

    It holds for these very bytes, under every name and in every generation, also
    after a restart or a rollback, until `model restore` or until a newer bundle
    delivers other bytes under the name. Its files go with the next `store gc`. A
    running server follows within seconds.
    """
    check_confirmed(f"model {name} will not be served any more. Go on?", yes=yes)
    gone = model_flow.remove_model(import_host(host()), name)
    lines = tuple(f"{model.name} is not served any more" for model in gone)
    value = {"removed": [_value(model) for model in gone]}
    show(value, (*lines, "its files go with: sallyport store gc"), as_json=as_json)


@app.command()
def restore(
    name: Annotated[
        str, typer.Argument(help="A model that was removed, or taken out.")
    ],
    as_json: Json = False,
) -> None:
    """Put a model back into service that was removed, or taken out after crashes.

    If the files of a removed one were collected meanwhile, run `store repair
    --removed` first. One that was taken out has another try: a running server
    follows within seconds.
    """
    back = model_flow.restore_model(import_host(host()), name)
    lines = tuple(f"{model.name} is served again" for model in back)
    show({"restored": [_value(model) for model in back]}, lines, as_json=as_json)


def _value(model: ActiveModel) -> dict[str, Any]:
    terms = model.terms
    return {
        "name": model.name,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "licence": terms.licence,
        "origin": terms.origin,
        "allowed_regions": list(terms.allowed_regions),
        "intended_use": terms.intended_use,
        "review_by": terms.review_by,
        "parts": [
            {"sha256": part.sha256, "size_bytes": part.size_bytes}
            for part in model.parts
        ],
        "channel": model.channel,
        "version": model.version,
        "generation": model.generation,
    }


def _row(listed: Listed, *, late: bool) -> tuple[str, ...]:
    model = listed.model
    state = " (taken out)" if listed.taken_out else ""
    if listed.capture != UNLIMITED:
        state += f" (captured at most: {listed.capture})"
    parts = f" in {len(model.parts)} parts" if len(model.parts) > 1 else ""
    return (
        model.name + (" (removed)" if listed.removed else state),
        f"{model.size_bytes:,}{parts}",
        model.terms.licence,
        ",".join(model.terms.allowed_regions),
        f"{model.channel} {model.version}, generation {model.generation}",
        (model.terms.review_by or "") + (" OVERDUE" if late else ""),
        (model.terms.intended_use or "")[:40],
        model.sha256[:12],
    )


def _verdict(check: ModelCheck) -> str:
    if not check.problems:
        return "intact"
    return ", ".join(f"{file.sha256[:12]} {what}" for file, what in check.problems)


def _check_value(check: ModelCheck) -> dict[str, Any]:
    return {
        "name": check.model.name,
        "sha256": check.model.sha256,
        "size_bytes": check.model.size_bytes,
        "intact": not check.problems,
        "problems": [
            {"sha256": file.sha256, "problem": what} for file, what in check.problems
        ],
    }
