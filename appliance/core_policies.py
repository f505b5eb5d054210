"""The core policies as they lie in the installation."""

from appliance.policy.compile import CoreFiles
from appliance.resources import folder


def core_files() -> CoreFiles:
    """Read the installed core policies."""
    policies = folder("policies")
    return CoreFiles(
        schema=(policies / "schema.cedarschema").read_bytes(),
        classes=(policies / "classes.toml").read_bytes(),
        policies=tuple(
            (path.name, path.read_bytes())
            for path in sorted((policies / "core").glob("*.cedar"))
        ),
    )
