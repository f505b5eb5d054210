"""What lies on the table when each guide begins, by the name of the guide."""

from collections.abc import Mapping

from tests.support.guides.play import Scene
from tests.support.guides.scenes.operator import OPERATOR

SCENES: Mapping[str, Scene] = {"operator": OPERATOR}
"""The scenes of every guide that shows what programs print."""
