"""Prompts and answers apart from the ledger: what is captured, and its commitments."""
