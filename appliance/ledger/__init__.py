"""The tamper-evident log, its export and its verifier."""
