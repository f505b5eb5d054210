"""What an inference request consists of, and what carrying one needs of the host."""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol

from appliance.bodies.vault import Body
from appliance.engine.embedding import ModelEngine
from appliance.engine.port import Ticket
from appliance.identity.keys import Caller
from appliance.ledger.log.append import Receipt
from appliance.ledger.records.events import Draft
from appliance.policy.compile import PolicySet
from appliance.policy.facts import Labels, ModelFacts, SiteFacts
from appliance.quota.quota import Hold
from appliance.request_steps.model_requests import Asked
from appliance.request_steps.records import Ending, Progress
from appliance.settings import Capture
from bundleformat.errors import Error


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """What is known of a call before its body is read; none of it is believed.

    Attributes:
        request_id: Ours, not the caller's.
        credential: What it presents as its API key.
        timeout_header: How long the caller wants to wait, as it wrote it.
        body_bytes: Largest size that the body may turn out to have.
        text_bytes: The size that the caller announced, or 0.
    """

    request_id: str
    credential: str = field(repr=False)
    timeout_header: str | None = None
    body_bytes: int
    text_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Asked]):
    """What a call that was let in asks for.

    Attributes:
        class_headers: Every value of the header that names a data class.
        region_headers: Every value of the header that names regions.
        capture_headers: Every value of the header that lowers what is captured.
        read_body: Reads the body, inside its limits.
        parse: Turns the body into what it asks for.
    """

    class_headers: tuple[str, ...]
    region_headers: tuple[str, ...]
    capture_headers: tuple[str, ...]
    read_body: Callable[[], Awaitable[bytes]]
    parse: Callable[[bytes], Asked]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """A model of an active generation and the engine that has it loaded.

    ``capture`` is the most that is captured of calls to it.
    """

    facts: ModelFacts
    generation: int
    activated_s: int
    engine: ModelEngine
    capture: Capture = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """What is active on this host at one moment; replaced whole, never changed."""

    models: Mapping[str, ServedModel]
    policy_set: PolicySet
    site: SiteFacts | None


class Host(Protocol):
    """Where a flow finds callers and what is active."""

    def view(self) -> HostView:
        """Return what is active now."""

    def identify(self, credential: str) -> Caller:
        """Return who presents ``credential``; raises AuthenticationError."""


class Ledger(Protocol):
    """Where a flow writes what it decided."""

    def check(self) -> None:
        """Return if records are being taken; raises AuditUnavailableError."""

    async def append(self, draft: Draft) -> Receipt:
        """Return once the record is durable; raises AuditUnavailableError.

        Cancelling the caller loses no record: a request that became durable
        meanwhile gets its ``llm.aborted``.
        """

    def submit(self, draft: Draft) -> "Future[Receipt]":
        """Have the record made durable with the next ones, and wait for nothing."""


class Bodies(Protocol):
    """Where a flow keeps the texts that a team has captured."""

    async def keep(self, body: Body) -> None:
        """Return once the body is durable; raises BodiesUnavailableError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entered:
    """A request that was let in and counted; its body has not been read."""

    knock: Knock
    progress: Progress
    hold: Hold
    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnedAway:
    """A request that was not let in.

    Attributes:
        error: Why.
        progress: How far it came.
        told: Whether its record is on the way; else it has to be written first.
    """

    error: Error
    progress: Progress
    told: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Reserved(Generic[Asked]):
    """A request that was allowed and has a place in its engine.

    Attributes:
        model: Who will answer.
        request: What was asked.
        labels: The labels it is handled under.
        ticket: The held place.
        priority: How urgent it is to the engine; the lower number goes first.
        service_tier: The tier that it is served in, if it asked for any.
    """

    model: ServedModel
    request: Asked
    labels: Labels
    ticket: Ticket
    priority: int
    service_tier: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted(Generic[Asked]):
    """A request whose ``llm.request`` is durable and whose work may begin."""

    entered: Entered
    reserved: Reserved[Asked]
    ending: Ending

    @property
    def model(self) -> ServedModel:
        """Who will answer."""
        return self.reserved.model

    @property
    def request(self) -> Asked:
        """What was asked."""
        return self.reserved.request

    @property
    def ticket(self) -> Ticket:
        """The held place."""
        return self.reserved.ticket
