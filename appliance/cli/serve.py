"""``sallyport serve``: the OpenAI API over the active models."""

import logging
from typing import Annotated

import typer

from appliance.cli.options import host


def serve(
    address: Annotated[
        str | None, typer.Option("--host", help="Address to listen on.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Port to listen on; 0 takes any free one."
        ),
    ] = None,
) -> None:
    """Serve the OpenAI API until stopped.

    Models, policies and the site certificate are followed while serving: an
    import in another terminal takes effect within seconds. Stops on Ctrl-C or
    SIGTERM: running requests may end by themselves for a while (drain_s), then
    they are ended with an error; asked a second time, they are ended at once.
    """
    # No other command pays for a web server, least of all an import its memory.
    from appliance import serve_flow  # noqa: PLC0415

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    opened = host()
    settings = opened.settings.server
    serve_flow.serve(
        opened,
        address=settings.host if address is None else address,
        port=settings.port if port is None else port,
        on_ready=_say_ready,
    )


def _say_ready(url: str) -> None:
    typer.echo(f"serving on {url}/v1  (stop with Ctrl-C)")
