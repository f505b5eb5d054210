"""The isolated host: verifies bundles, serves models, proves what happened.

Nothing here opens a connection outward. Read ``import_flow.py`` and
``request_flow.py`` first: they are the data flow from top to bottom.
"""
