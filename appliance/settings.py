"""Every setting of a host, typed, with its unit and default.

Read once at start from ``HOME/sallyport.toml`` (which may be absent); nothing
else in the appliance reads the environment or a configuration file. Limits are
always finite, and no setting switches a check off.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundleformat.errors import MalformedError

DEFAULT_HOME = Path("/var/lib/sallyport")
"""Where a host keeps its state unless told otherwise."""

HOME_VARIABLE = "SALLYPORT_HOME"
"""Environment variable that names another home folder."""

Count = Annotated[int, Field(ge=1, le=2**40)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """``[server]``: where the API listens and what one HTTP request may weigh."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    body_bytes: Count = 4 * 2**20
    messages: Count = 1_024
    stop_strings: Count = 4
    drain_s: Count = 30


class EngineSettings(_Section):
    """``[engine]``: hard limits of each model's engine process.

    ``context_tokens`` bounds one request (prompt and answer), ``cells`` is the
    KV cache that all running requests share, ``queued_requests`` bounds what
    waits. ``default_max_tokens`` is what a request without ``max_tokens`` may
    generate: finite, so that reservations stay honest.
    """

    context_tokens: Count = 4_096
    cells: Count = 16_384
    sequences: Annotated[int, Field(ge=1, le=256)] = 16
    batch_tokens: Annotated[int, Field(ge=32, le=8_192)] = 512
    queued_requests: Count = 64
    queue_timeout_s: Count = 60
    default_max_tokens: Count = 512
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    load_timeout_s: Count = 300
    reply_timeout_s: Count = 30


class Settings(_Section):
    """Everything a host can be told."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()


def home_folder(chosen: Path | None) -> Path:
    """Return the home folder: the one chosen, the environment's, or the default."""
    if chosen is not None:
        return chosen
    named = os.environ.get(HOME_VARIABLE)
    return Path(named) if named else DEFAULT_HOME


def engine_threads(settings: EngineSettings) -> int:
    """Return the compute threads of one engine: one core is left to the gateway.

    A thread too many on a busy host costs a thousandfold, because llama.cpp's
    barriers spin.
    """
    return settings.threads or max(1, len(os.sched_getaffinity(0)) - 1)


def read_settings(home: Path) -> Settings:
    """Return the settings of ``home``, or the defaults if it has no file.

    Raises:
        MalformedError: The file is not TOML, or has an unknown or bad setting.
    """
    path = home / "sallyport.toml"
    if not path.is_file():
        return Settings()
    try:
        return Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError(
            "not a TOML file", where=str(path), actual=str(error)
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise MalformedError(
            f"setting {field}: {first['msg']}",
            where=str(path),
            hint="Correct or remove that line; every setting has a default.",
        ) from error
