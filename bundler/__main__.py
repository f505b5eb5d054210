"""Runs the command line as ``python -m bundler``."""

import sys

from bundler.cli import main

if __name__ == "__main__":
    sys.exit(main())
