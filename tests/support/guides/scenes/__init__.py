"""What lies on the table when each guide begins, by the name of the guide."""

from collections.abc import Mapping

from tests.support.guides.play import Scene
from tests.support.guides.scenes.auditor import AUDITOR
from tests.support.guides.scenes.bare_host import BARE_HOST
from tests.support.guides.scenes.builder import BUILDER
from tests.support.guides.scenes.operator import OPERATOR
from tests.support.guides.scenes.records import RECORDS
from tests.support.guides.scenes.signer import SIGNER

SCENES: Mapping[str, Scene] = {
    "auditor": AUDITOR,
    "bare-host": BARE_HOST,
    "builder": BUILDER,
    "operator": OPERATOR,
    "records": RECORDS,
    "signer": SIGNER,
}
"""The scenes of every guide that shows what programs print."""
