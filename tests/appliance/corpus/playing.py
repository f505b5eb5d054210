"""Plays one bundle of the corpus against a host, and looks at what became of both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from appliance.import_steps.host import Observer, Step
from bundleformat.errors import Error
from tests.support.corpus_host import CorpusHost, tree
from tests.vectors.bundles.case import Case, Media, Swap

PASSED: Final = {
    Step.PREFLIGHT: "bundle.verified",
    Step.COPY: "bundle.copied",
    Step.EXAMINE: "bundle.examined",
    Step.CHECK_POLICIES: "bundle.policies_checked",
}
"""The record of each step that passed, in their order."""


@dataclass(kw_only=True)
class Watch:
    """What an import was seen to do, and what happens meanwhile."""

    swap: Swap | None
    medium: Path
    steps: list[Step] = field(default_factory=list)
    _opened: int = 0

    def on_step(self, step: Step) -> None:
        self.steps.append(step)
        if self.swap is not None and self.swap.at is step:
            self.swap.act(self.medium)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Let the medium change right before a file of it is opened."""
        real = os.open

        def opened(path: Any, *more: Any, **named: Any) -> int:
            if self.swap is not None and path == self.swap.before_open:
                self._opened += 1
                if self._opened == self.swap.times:
                    self.swap.act(self.medium)
            return real(path, *more, **named)

        with pytest.MonkeyPatch.context() as patch:
            if self.swap is not None and self.swap.before_open:
                patch.setattr(os, "open", opened)
            yield


def is_at(where: str, place: str) -> bool:
    """Whether ``where`` ends with ``place``, or is the medium of that name itself."""
    return where.endswith(place) or Path(where).stem == place


def refuse(host: CorpusHost, case: Case, media: Media) -> Error:
    """Import, expect what ``case`` states, and check that it left nothing.

    Returns the refusal. Every step that passed before it is on record, and then, as
    the last record, the refusal itself.
    """
    watch = Watch(swap=case.swap, medium=media[0])
    before, length = host.standing(), host.length()
    around = tree(media[0].parent)
    with watch.opening(), pytest.raises(Error) as caught:
        host.import_(*media, observer=Observer(on_step=watch.on_step))
    error = caught.value
    assert (error.code, watch.steps[-1]) == (case.code, case.step)
    assert error.exit_status == case.status
    assert is_at(error.where, case.where)
    assert host.standing() == before
    if case.swap is None:
        assert tree(media[0].parent) == around
    *passed, refusal = host.records(after=length)
    assert [each["event"] for each in passed] == passed_before(case.step)
    assert refusal["event"] == "bundle.refused"
    assert refusal["outcome"] == ("error" if case.fault else "refused")
    assert (refusal["code"], refusal["step"]) == (case.code, case.step)
    return error


def passed_before(step: Step) -> list[str]:
    """Return the records that an import makes before it comes to ``step``."""
    order = list(Step)
    return [
        event
        for passed, event in PASSED.items()
        if order.index(passed) < order.index(step)
    ]


def make(case: Case, folder: Path) -> Media:
    """Make the media of ``case``; skip where this kernel does not let us."""
    try:
        return case.make(folder)
    except PermissionError as error:  # pragma: no cover - as an ordinary user
        pytest.skip(f"this user may not make that: {error}")
