"""What the ledger records: the catalogue of events, their fields, their counts."""
