"""What frameworks ask of a log, and where this host's ledger answers."""
