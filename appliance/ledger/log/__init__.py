"""The log as it lies in the database: records, head, keys, and whether it is halted."""
