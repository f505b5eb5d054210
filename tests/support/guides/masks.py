"""What of a guide's outputs differs from run to run and from host to host."""

import re
from typing import Final

from tests.support.narration import masked as masked_as_in_the_readme

MASKS: Final = (
    (r"[\d,]+ are free", "FREE are free"),
    (r"files of [\d,]+ free", "files of FREE free"),
    (r"operator_uid +\d+", "operator_uid UID"),
)


def masked(text: str) -> str:
    """Return ``text`` without what differs."""
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return masked_as_in_the_readme(text)
