"""The steps of ``import_flow``: each asks one component and returns what it said."""
