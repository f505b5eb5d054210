"""What watches over the ledger while it is written, and halts it."""
