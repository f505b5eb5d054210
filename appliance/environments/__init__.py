"""From signed wheels to an environment that a team's programs run in."""
