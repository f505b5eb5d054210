"""The bundler's leaves of the error tree.

::

    RefusalError
    ├── SpecError           the spec file asks for something that cannot be built
    └── KeyFileError        a key or passphrase file cannot be used as it is
"""

from bundleformat.errors import RefusalError


class SpecError(RefusalError):
    """The spec file asks for something that cannot be built."""

    code = "spec-invalid"


class KeyFileError(RefusalError):
    """A key or passphrase file cannot be used as it is."""

    code = "key-unusable"
