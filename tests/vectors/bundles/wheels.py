"""Hostile wheels and environments in bundles that are signed as they should be.

The first are the files of ``reject/wheel``, each of which is also a test of the
reader alone. The others pass it, and cannot be installed as they are.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from appliance.import_steps.host import Step
from bundleformat.artifact import WheelSizes
from tests.support.publish_wheels import (
    THIS_PYTHON,
    environment_of,
    quick_pip,
    tiny_wheel,
)
from tests.support.wheel_bytes import GOOD, NAME
from tests.vectors.bundles.case import DIGEST, MALFORMED, MISSING, Case, of_made
from tests.vectors.bundles.estate import Delivery, Files, bundle
from tests.vectors.make_wheels import rejected

PATH: Final = f"wheels/{NAME}"

USUAL: Final = frozenset(
    {
        "bomb",
        "content-deflate-tail",
        "member-symlink",
        "member-local-name",
        "name-absolute",
        "name-case",
        "name-parent",
        "name-twice",
        "place-data-bin",
        "place-pth",
        "place-sitecustomize",
        "record-gap",
        "second-archive",
    }
)
"""Files of ``reject/wheel`` that are imported each time."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for name, wheel, code, where in rejected():
        # An empty file is no artifact: its manifest would be refused.
        if name != "empty":
            data = wheel if isinstance(wheel, bytes) else wheel.packed()
            yield of_made(
                f"wheel-{name}",
                code,
                f"{PATH}: {where}",
                partial(bundle, _wheel(data)),
                step=Step.EXAMINE,
                slow=name not in USUAL,
            )
    yield of_made(
        "wheel-under-another-name",
        MALFORMED,
        "wheels/other-1.0-py3-none-any.whl: demo-1.0.dist-info",
        lambda: bundle(_wheel(GOOD.packed(), name="other")),
        step=Step.EXAMINE,
    )
    lie = WheelSizes(unpacked_bytes=1, python_bytes=0, files=1)
    yield of_made(
        "wheel-of-other-sizes-than-signed",
        MALFORMED,
        PATH,
        lambda: bundle(replace(_wheel(GOOD.packed()), wheel=lie)),
        step=Step.EXAMINE,
    )
    yield from _environments()


def _environments() -> Iterator[Case]:
    def of(
        name: str,
        code: str,
        where: str,
        wheels: Callable[[Path], Sequence[Path]],
        *,
        slow: bool = True,
    ) -> Case:
        return of_made(
            f"environment-{name}",
            code,
            where,
            lambda: environment(wheels),
            step=Step.INSTALL_ENVIRONMENTS,
            slow=slow,
        )

    yield of(
        "without-its-pip",
        MISSING,
        "locks/pylock.tools.toml",
        lambda folder: [tiny_wheel(folder, "demo")],
        slow=False,
    )
    yield of(
        "with-a-need-that-is-not-there",
        MALFORMED,
        "environment tools",
        lambda folder: [
            quick_pip(folder),
            tiny_wheel(folder, "demo", requires=["absent"]),
        ],
    )
    yield of(
        "for-another-python",
        MALFORMED,
        "environment tools",
        lambda folder: [
            quick_pip(folder),
            tiny_wheel(folder, "demo", tag="cp39-none-any"),
        ],
    )
    yield of(
        "of-two-wheels-with-one-file",
        DIGEST,
        f"environment tools: lib/python{THIS_PYTHON}/site-packages/one.py",
        lambda folder: [
            quick_pip(folder),
            tiny_wheel(folder, "demo", contents={"one.py": b"A = 1\n"}),
            tiny_wheel(folder, "other", contents={"one.py": b"A = 2\n"}),
        ],
    )


def _wheel(data: bytes, *, name: str = "demo") -> Delivery:
    file_name = NAME.replace("demo", name)
    return Delivery(
        kind="wheel",
        name=file_name.removesuffix(".whl"),
        path=f"wheels/{file_name}",
        data=data,
    )


def environment(wheels: Callable[[Path], Sequence[Path]]) -> Files:
    """Return a bundle of an environment for a team, made of ``wheels``."""
    with tempfile.TemporaryDirectory() as folder:
        made = environment_of("tools", wheels(Path(folder)))
    return bundle(
        *(
            Delivery(
                kind=each.kind,
                name=each.name,
                path=each.path,
                data=each.data,
                environment=each.environment,
                wheel=each.wheel,
            )
            for each in made
        )
    )
