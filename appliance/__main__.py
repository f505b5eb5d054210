"""``python -m appliance``: the same as the command ``sallyport``."""

import sys

from appliance.cli import program

if __name__ == "__main__":
    sys.exit(program())
