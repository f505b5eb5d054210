"""The one SQLite database of a host: rows, connections, migrations."""
