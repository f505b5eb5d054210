"""The bundler's leaves of the error tree.

::

    Error
    ├── RefusalError
    │   ├── SpecError           the spec file asks for something that cannot be built
    │   ├── KeyFileError        a key or passphrase file cannot be used as it is
    │   ├── RootRuleError       a root would break the rules that every root keeps
    │   └── AccessDeniedError   a hub wants a token or an agreement first
    └── FaultError
        └── HubFaultError       a hub cannot be reached or answers as none does
"""

from bundleformat.errors import FaultError, RefusalError


class SpecError(RefusalError):
    """The spec file asks for something that cannot be built."""

    code = "spec-invalid"


class KeyFileError(RefusalError):
    """A key or passphrase file cannot be used as it is."""

    code = "key-unusable"


class RootRuleError(RefusalError):
    """A root would break the rules that every root keeps."""

    code = "root-rule"


class AccessDeniedError(RefusalError):
    """A hub does not give a file to whoever asks; it wants a token or an agreement."""

    code = "access-denied"
    http_status = 403


class HubFaultError(FaultError):
    """A hub cannot be reached, or answers as none does; what was got so far is kept."""

    code = "hub-fault"
