"""The places of an engine, counted where its requests come in; pure.

An eighth of them is kept for teams that hold little: a team that holds more than
its equal part takes none of those. So one team alone can never hold every place.
"""

from dataclasses import dataclass, field

KEPT_FOR_OTHERS = 8
"""One place in so many is not for a team that holds more than its equal part."""


@dataclass(slots=True)
class Places:
    """How many places are taken, and by whom."""

    taken: int = 0
    by_team: dict[str, int] = field(default_factory=dict)

    def may_enter(self, team: str, *, places: int) -> bool:
        """Whether a team may take one more of so many places."""
        free = places - self.taken
        if free > places // KEPT_FOR_OTHERS:
            return True
        # The equal part is counted as if one more team came.
        teams = len(self.by_team.keys() | {team}) + 1
        return free > 0 and (self.by_team.get(team, 0) + 1) * teams <= places

    def enter(self, team: str) -> None:
        """Take a place."""
        self.taken += 1
        self.by_team[team] = self.by_team.get(team, 0) + 1

    def leave(self, team: str) -> None:
        """Give a place back."""
        self.taken -= 1
        self.by_team[team] -= 1
        if not self.by_team[team]:
            del self.by_team[team]
