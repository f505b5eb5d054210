"""What both machines must agree on; pure, and the only code that both import.

A volume holds a bundle like this (FORMAT.md has the rules)::

    VOLUME/
    ├── BUNDLE.txt                  note for people; unsigned, never parsed
    ├── metadata/
    │   ├── 1.root.json … N.root.json   every root since the first
    │   ├── timestamp.json              newest version of this channel
    │   ├── V.snapshot.json
    │   └── V.targets.json              length and SHA-256 of all below
    ├── targets/
    │   └── manifest.json               artifacts, and the chunks they are made of
    └── c/<2 hex>/<64 hex>              chunks: raw bytes, named by their SHA-256

Reading goes from the top down: ``verify`` calls ``tufclient`` (who signed) and
``manifest`` (what was signed); both read through ``volume`` under ``limits`` and
decode with ``strictjson``. ``trust`` holds what a machine believes already.
Nothing here knows a private key, a network, a database or a clock.
"""
