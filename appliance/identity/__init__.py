"""Who calls and where this host is: keys, teams, site certificate."""
