"""The script that travels with a bundle and sets a bare host up from it.

``install.py`` is data here: nothing imports it, because it must run where no
package is installed. Its digest stands on the transfer sheet.
"""

from importlib.resources import files
from typing import Final

INSTALLER_NAME: Final = "install.py"
"""Its name, as an artifact and at the top of a volume."""


def installer_bytes() -> bytes:
    """Return the installer, byte for byte as a person hashes it."""
    return files(__name__).joinpath(INSTALLER_NAME).read_bytes()
