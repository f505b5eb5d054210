"""Tells a draft, which still wants signatures, from a bundle that lost a file.

Nothing here is trusted or needs to be: a draft would be refused one step later all
the same, as a bundle without a timestamp. This only says why, and what to do.
"""

from bundleformat.errors import MissingError
from bundleformat.layout import METADATA_FOLDER, TIMESTAMP_PATH
from bundleformat.limits import Limits
from bundleformat.medium import Medium


def check_no_draft(medium: Medium, *, limits: Limits) -> None:
    """Check that a bundle was completed.

    Raises:
        MissingError: It has a list of targets, but neither snapshot nor timestamp.
    """
    names = medium.names(METADATA_FOLDER, max_entries=limits.root_files + 64)
    kinds = {name.removesuffix(".json").rpartition(".")[2] for name in names}
    if "targets" in kinds and kinds.isdisjoint({"snapshot", "timestamp"}):
        raise MissingError(
            "this is a draft, whose signatures are not complete",
            where=TIMESTAMP_PATH,
            expected="the signature of a bundler key over the newest version",
            hint="On the connected machine, `sallyport-bundler sign FOLDER` shows who "
            "has still to sign, and `attach FOLDER --bundler-key` completes it.",
        )
