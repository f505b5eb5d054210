"""Where the files that travel beside the code are found.

``migrations/`` and ``policies/`` stand at the top of the repository and travel
inside the wheel as ``appliance/_migrations`` and ``appliance/_policies``.
"""

from pathlib import Path

from bundleformat.errors import InternalFaultError


def folder(name: str) -> Path:
    """Return the folder ``name``, inside the installed package or beside it.

    Raises:
        InternalFaultError: The installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / f"_{name}", package.parent / name):
        if candidate.is_dir():
            return candidate
    raise InternalFaultError(
        "this installation lacks a folder it needs",
        where=name,
        hint="Reinstall Sallyport from its wheel.",
    )
