"""Every fuzz target by its name."""

from typing import Final

from tests.fuzz import media, models, signed
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for target in (*models.TARGETS, *media.TARGETS, *signed.TARGETS)
}
