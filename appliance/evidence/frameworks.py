"""Every framework by the name that the command line has for it."""

from collections.abc import Mapping, Sequence
from typing import Final

from appliance.evidence.laws import LAWS
from appliance.evidence.requirement import Framework
from appliance.evidence.standards import STANDARDS
from bundleformat.errors import UsageError

FRAMEWORKS: Final[Mapping[str, Framework]] = {**LAWS, **STANDARDS}
"""Laws and standards."""


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the frameworks that are named, each once.

    Raises:
        UsageError: One of them is not here, or none is named.
    """
    for name in names:
        if name not in FRAMEWORKS:
            raise UsageError(
                "no such framework",
                where="--framework",
                expected=", ".join(FRAMEWORKS),
                actual=ascii(name[:64]),
            )
    return tuple(dict.fromkeys(names))
