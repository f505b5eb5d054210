"""The ledger's records in the formats that other programs and people read."""
