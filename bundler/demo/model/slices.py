"""A training that is done in slices: each leaves on disk what the next one needs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Slices(ABC):
    """Learns step by step, on one thread, and can be stopped and gone on with.

    Attributes:
        tensors: What is learnt, by the names of GGUF.
        step: The number of the next step.
        cpu_s: Time of the processor that was spent so far. Unit: seconds.
        noted: What else later steps depend on, as numbers by their names.
    """

    steps: int
    """How many steps there are."""

    def __init__(self, file: Path, *, tensors: dict[str, Any], optimizer: Any) -> None:
        self._file = file
        self.tensors = tensors
        self._optimizer = optimizer
        self.step, self.cpu_s = 0, 0.0
        self.noted: dict[str, list[int]] = {}
        if file.exists():
            self._go_on()

    @property
    def done(self) -> bool:
        """Whether the last step is over."""
        return self.step >= self.steps

    def run(
        self,
        *,
        minutes: float,
        until: int | None = None,
        after: Callable[[float], None] = lambda _loss: None,
    ) -> float:
        """Learn to the end, for so long, or up to a step; return the last loss.

        ``after`` is called with the loss of each step when it is over.
        """
        begun, spent = time.monotonic(), time.process_time()
        loss = 0.0
        while not self.done and time.monotonic() - begun < 60 * minutes:
            if self.step == until:
                break
            loss = self._learn()
            torch.nn.utils.clip_grad_norm_(self.tensors.values(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()
            self.step += 1
            after(loss)
        self.cpu_s += time.process_time() - spent
        self._save()
        return loss

    @abstractmethod
    def _learn(self) -> float:
        """Set this step's rate, add up its gradients, and return its loss."""

    def _save(self) -> None:
        state = {
            "step": self.step,
            "cpu_s": self.cpu_s,
            "noted": self.noted,
            "tensors": {name: each.detach() for name, each in self.tensors.items()},
            "optimizer": self._optimizer.state_dict(),
        }
        beside = self._file.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self._file)

    def _go_on(self) -> None:
        state = torch.load(self._file, weights_only=True)
        self.step, self.cpu_s = state["step"], state["cpu_s"]
        self.noted = state["noted"]
        with torch.no_grad():
            for name, each in state["tensors"].items():
                self.tensors[name].copy_(each)
        self._optimizer.load_state_dict(state["optimizer"])
