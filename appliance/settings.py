"""Every setting of a host, typed, with its unit and default.

Read once at start from ``HOME/sallyport.toml`` (which may be absent); nothing
else in the appliance reads the environment or a configuration file. Limits are
always finite, and no setting switches a check off. The descriptions here are the
README's table of settings.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bundleformat.artifact import Kind
from bundleformat.errors import MalformedError

DEFAULT_HOME = Path("/var/lib/sallyport")
"""Where a host keeps its state unless told otherwise."""

HOME_VARIABLE = "SALLYPORT_HOME"
"""Environment variable that names another home folder."""

MAX_SEQUENCES = 40
"""Most requests that one engine decodes at once."""

Count = Annotated[int, Field(ge=1, le=2**40)]

Priority = Literal["priority", "interactive", "batch"]
"""How urgent a team's requests may be at most, the most urgent first."""


Capture = Literal["metadata", "digest", "full"]
"""How much of prompts and answers is captured, the least first."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """``[server]``: where the API listens and what its clients may hold."""

    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[
        int, Field(ge=0, le=65_535, description="port; 0 takes any free one")
    ] = 8080
    connections: Annotated[Count, Field(description="connections open at once")] = 1_024
    header_s: Annotated[
        Count, Field(description="seconds for the head of a request to arrive")
    ] = 10
    body_bytes: Annotated[Count, Field(description="bytes of a request body")] = (
        4 * 2**20
    )
    body_s: Annotated[Count, Field(description="seconds for a body to arrive")] = 30
    write_s: Annotated[
        Count, Field(description="seconds a client may leave an answer unread")
    ] = 60
    messages: Annotated[Count, Field(description="messages of a request")] = 1_024
    inputs: Annotated[
        int, Field(ge=1, le=2**16, description="texts of a request for embeddings")
    ] = 2_048
    stop_strings: Annotated[Count, Field(description="stop strings of a request")] = 4
    drain_s: Annotated[
        Count, Field(description="seconds running requests may go on at a stop")
    ] = 30


class EngineSettings(_Section):
    """``[engine]``: hard limits of each model's engine process."""

    context_tokens: Annotated[
        int,
        Field(ge=64, le=2**24, description="tokens of one request, prompt and answer"),
    ] = 4_096
    cells: Annotated[
        int,
        Field(
            ge=256,
            le=2**28,
            description="cells of the KV cache that running requests share",
        ),
    ] = 16_384
    sequences: Annotated[
        int, Field(ge=1, le=MAX_SEQUENCES, description="requests decoded at once")
    ] = 16
    batch_tokens: Annotated[
        int, Field(ge=32, le=8_192, description="tokens computed in one step")
    ] = 512
    queued_requests: Annotated[
        Count, Field(description="requests waiting for cells")
    ] = 64
    queue_timeout_s: Annotated[
        Count, Field(description="seconds a request may wait for cells")
    ] = 60
    default_max_tokens: Annotated[
        Count, Field(description="new tokens of a request that names no number")
    ] = 512
    step_ms: Annotated[
        Count,
        Field(
            description="milliseconds a step should take while answers are written; "
            "answers that take as long alone, and prompts beside them, go past it"
        ),
    ] = 150
    spare_sequences: Annotated[
        int,
        Field(
            ge=0,
            le=16,
            description="requests decoded besides, for teams of whom none is",
        ),
    ] = 1
    cached_sequences: Annotated[
        int,
        Field(
            ge=1,
            le=200,
            description="ended requests whose tokens may serve the next",
        ),
    ] = 32
    spill_bytes: Annotated[
        int,
        Field(
            ge=0,
            le=2**40,
            description="bytes of memory for what had to leave the cache",
        ),
    ] = 2**28
    draft_tokens: Annotated[
        int,
        Field(ge=0, le=64, description="tokens guessed in one step; 0 guesses none"),
    ] = 8
    shared_prompts: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=2**20)], ...],
        Field(
            max_length=16,
            description="system prompts that teams may have computed for each other",
        ),
    ] = ()
    input_tokens: Annotated[
        int,
        Field(
            ge=32,
            le=2**16,
            description="tokens of one text that is embedded, and of a batch of them",
        ),
    ] = 512
    request_tokens: Annotated[
        Count, Field(description="tokens of all texts of one request for embeddings")
    ] = 300_000
    threads: Annotated[
        int,
        Field(
            ge=0,
            le=1_024,
            description="compute threads, shared by the models that work at once; "
            "0 is one less than the cores",
        ),
    ] = 0
    cache_type: Annotated[
        Literal["f16", "q8_0", "auto"],
        Field(
            description="how keys and values are kept; q8_0 rounds them and takes half "
            "the room, auto lets `model calibrate` choose"
        ),
    ] = "f16"
    cache_layout: Annotated[
        Literal["auto", "shared"],
        Field(
            description="auto: each running request has a part of the cache where the "
            "cells are enough for a whole context of each; shared: never"
        ),
    ] = "auto"
    flash_attention: Annotated[
        Literal["on", "off", "auto"],
        Field(
            description="whether attention is computed in pieces; auto lets `model "
            "calibrate` choose, and llama.cpp where nothing was measured"
        ),
    ] = "auto"
    gpu_layers: Annotated[
        int,
        Field(
            ge=-1,
            le=4_096,
            description="layers on a GPU, where there is one; -1 is as many as fit",
        ),
    ] = -1
    memory_margin_bytes: Annotated[
        int,
        Field(
            ge=2**24,
            le=2**50,
            description="bytes of memory that a load leaves to everybody else",
        ),
    ] = 2**28
    gpu_margin_bytes: Annotated[
        int,
        Field(ge=2**24, le=2**50, description="bytes of each GPU that a load leaves"),
    ] = 2**30
    load_timeout_s: Annotated[
        Count, Field(description="seconds for a model to load")
    ] = 300
    reply_timeout_s: Annotated[
        Count,
        Field(description="seconds an engine may stay silent before it is killed"),
    ] = 30


class ModelSettings(_Section):
    """``[models]``: which models stay loaded, and what becomes of one that crashes."""

    pinned: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
        Field(max_length=64, description="models that are always loaded, by name"),
    ] = ()
    resident: Annotated[
        int, Field(ge=1, le=64, description="models loaded at once")
    ] = 8
    keep_alive_s: Annotated[
        int,
        Field(
            ge=0,
            le=2**40,
            description="seconds a model stays loaded that nobody asks; 0 keeps it "
            "until another needs its room",
        ),
    ] = 86_400
    load_wait_s: Annotated[
        Count, Field(description="seconds a request may wait for its model to load")
    ] = 60
    crash_limit: Annotated[
        int,
        Field(ge=1, le=100, description="crashes after which a model is taken out"),
    ] = 3
    crash_window_s: Annotated[
        Count, Field(description="seconds within which they count")
    ] = 600

    @model_validator(mode="after")
    def _pinned_models_leave_room(self) -> Self:
        if len(self.pinned) > self.resident:
            raise ValueError("more models are pinned than may be resident")
        return self


class LimitSettings(_Section):
    """``[limits]``: what one request, one team and all of them together may take.

    The limits of a team are what every team has that ``sallyport team set`` gave no
    others.
    """

    running: Annotated[
        Count, Field(description="requests of one team that run at once")
    ] = 64
    queued: Annotated[
        Count, Field(description="requests of one team that wait beside them")
    ] = 64
    requests_per_minute: Annotated[
        Count, Field(description="requests that one team may begin in a minute")
    ] = 60_000
    tokens_per_minute: Annotated[
        Count, Field(description="tokens of one team's prompts and answers in a minute")
    ] = 10_000_000
    tokens_per_day: Annotated[
        Count, Field(description="the same in a day, which begins at midnight UTC")
    ] = 1_000_000_000
    queued_tokens: Annotated[
        Count,
        Field(description="prompt tokens of all requests whose answer has not begun"),
    ] = 1_048_576
    bodies_bytes: Annotated[
        Count,
        Field(
            ge=2**20,
            description="bytes of all request bodies that are being read and counted",
        ),
    ] = 2**28
    output_tokens: Annotated[
        Count, Field(description="new tokens that one request may ask for")
    ] = 131_072
    n: Annotated[
        int, Field(ge=1, le=1, description="answers of one request; there is only one")
    ] = 1
    top_logprobs: Annotated[
        int,
        Field(ge=0, le=0, description="alternatives told of a token; there are none"),
    ] = 0
    deadline_s: Annotated[
        Count,
        Field(description="seconds a request may take; a caller may ask for fewer"),
    ] = 600


class ImportSettings(_Section):
    """``[import]``: what this host takes from a medium, and how much of it."""

    store_bytes: Annotated[
        int, Field(ge=2**20, le=2**50, description="bytes of all stored files")
    ] = 2**42
    kinds: Annotated[
        tuple[Kind, ...],
        Field(min_length=1, description="kinds of artifact that are taken"),
    ] = get_args(Kind)
    expiry: Annotated[
        Literal["enforce", "grace"],
        Field(
            description="enforce refuses what has expired; grace takes it for some days"
        ),
    ] = "enforce"
    grace_days: Annotated[
        int, Field(ge=1, le=366, description="days of grace after the expiry")
    ] = 14


class SiemSettings(_Section):
    """``[siem]``: who on this host gets every record as it is written."""

    socket: Annotated[
        str,
        Field(
            pattern=r"^(/.{1,106})?$",
            description="Unix socket of a collector that gets every record as an "
            "RFC 5424 line of OCSF; empty: none",
        ),
    ] = ""
    kind: Annotated[
        Literal["datagram", "stream"],
        Field(description="`datagram`, or `stream` with a line for each record"),
    ] = "datagram"
    backlog: Annotated[
        Count,
        Field(description="records that wait for a collector that is away"),
    ] = 100_000


class LedgerSettings(_Section):
    """``[ledger]``: what keeps the ledger able to say that it cannot go on."""

    ballast_bytes: Annotated[
        int,
        Field(
            ge=2**16,
            le=2**40,
            description="bytes of disk kept back, so that a full disk is still on "
            "record",
        ),
    ] = 2**26
    low_percent: Annotated[
        int,
        Field(
            ge=1,
            le=90,
            description="percent of the disk below which free space counts as low",
        ),
    ] = 15
    head_copy: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4_096,
            description="file in the home, or better on another volume, that keeps the "
            "ledger's head",
        ),
    ] = "ledger.head"


class Settings(_Section):
    """Everything a host can be told."""

    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    limits: LimitSettings = LimitSettings()
    import_: Annotated[ImportSettings, Field(alias="import")] = ImportSettings()
    siem: SiemSettings = SiemSettings()
    ledger: LedgerSettings = LedgerSettings()


def home_folder(chosen: Path | None) -> Path:
    """Return the home folder: the one chosen, the environment's, or the default."""
    if chosen is not None:
        return chosen
    named = os.environ.get(HOME_VARIABLE)
    return Path(named) if named else DEFAULT_HOME


def engine_threads(settings: EngineSettings) -> int:
    """Return the compute threads of all engines: one core is left to the gateway.

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
            "not a TOML file",
            where=str(path),
            actual=str(error),
            hint="Correct that line, or move the file away: every setting has a "
            "default.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        problem = "there is no such setting" if unknown else first["msg"]
        raise MalformedError(
            f"setting {field}: {problem[0].lower()}{problem[1:]}",
            where=str(path),
            hint="Correct or remove that line; every setting has a default, and the "
            "README lists them.",
        ) from error
