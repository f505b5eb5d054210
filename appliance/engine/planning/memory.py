"""What a loaded model takes, in bytes, device by device. Values only."""

from dataclasses import dataclass, field

HOST = "host"
"""Name of the memory that processors work in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceMemory:
    """What a model and its context take in the memory of one device.

    Attributes:
        device: Name of the device, or :data:`HOST`.
        weights_bytes: The model's tensors.
        cache_bytes: Keys and values, or the state of a recurrent model.
        compute_bytes: Scratch room for the largest batch.
        output_bytes: Logits and embeddings of the outputs of one batch.
    """

    device: str
    weights_bytes: int = 0
    cache_bytes: int = 0
    compute_bytes: int = 0
    output_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return (
            self.weights_bytes
            + self.cache_bytes
            + self.compute_bytes
            + self.output_bytes
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What a loaded model takes.

    Attributes:
        host: Buffers in the memory of the machine.
        gpus: Buffers on each GPU that holds some.
        sampling_bytes: Candidates of all sequences while tokens are drawn.
        spill_bytes: Sequences that had to leave the cache, at most.
        requests_bytes: Tokens of all requests there may be, and room to work.
        process_bytes: What the engine process takes besides: its program, its
            libraries, the vocabulary.
    """

    host: DeviceMemory
    gpus: tuple[DeviceMemory, ...] = ()
    sampling_bytes: int = 0
    spill_bytes: int = 0
    requests_bytes: int = 0
    process_bytes: int = 0

    @property
    def host_bytes(self) -> int:
        """All of it that is in the memory of the machine."""
        return (
            self.host.total_bytes
            + self.sampling_bytes
            + self.spill_bytes
            + self.requests_bytes
            + self.process_bytes
        )

    @property
    def total_bytes(self) -> int:
        """All of it, wherever it is."""
        return self.host_bytes + sum(gpu.total_bytes for gpu in self.gpus)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What an engine process that has loaded its model says it takes.

    Attributes:
        memory: Its buffers, counted as a probe counts them.
        resident_bytes: Memory of the process that is in the machine now.
        anonymous_bytes: What of this nothing but its end gives back; the rest can
            be read from files again.
    """

    memory: Memory
    resident_bytes: int
    anonymous_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU as the engine's libraries see it.

    Attributes:
        name: Its name, such as ``CUDA0``.
        description: What it is, in the driver's words.
        free_bytes: Memory nobody uses now.
        memory_bytes: All of its memory.
    """

    name: str
    description: str
    free_bytes: int
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """A limit of memory, and how much is left below it.

    Attributes:
        name: What sets the limit, in words for a person.
        left_bytes: What a new process may still take.
    """

    name: str
    left_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What a probe found out about a model and the parameters it was asked about.

    Attributes:
        memory: What a load would take.
        trained_tokens: Context length the model was trained for.
        context_tokens: Tokens that one request could hold.
        cells: Places in the cache.
        sequences: Requests that could run at once.
        layers: Layers that can be put on a GPU.
        vectors: Whether it makes vectors; what it takes has nothing to do with how
            many use it then.
        repacked: Whether weights are laid out anew for this processor.
        exact: Whether llama.cpp itself said what it would take, to the byte; it
            was told from its log lines otherwise.
        gpus: The GPUs there are.
        ceilings: Limits that hold for a process of its kind.
    """

    memory: Memory
    trained_tokens: int
    context_tokens: int
    cells: int
    sequences: int
    layers: int
    vectors: bool = False
    repacked: bool = False
    exact: bool = True
    gpus: tuple[Gpu, ...] = ()
    ceilings: tuple[Ceiling, ...] = field(default=())
