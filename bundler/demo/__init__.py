"""The whole story on one machine: ``make demo``.

Drives the two command-line programs as a person would, in a scratch folder,
and a server with the official ``openai`` client. Nothing here is used by the
product, and every line of output is what the programs really said.
"""
