"""The live feed of records to a collector on this host."""
