"""``python -m benchmarks [NAME ...]``: measure, and print what was found."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import gateway, import_bundle, ledger
from benchmarks.machine import describe
from benchmarks.measure import Plan
from benchmarks.report import table

BENCHMARKS = {
    "import_bundle": import_bundle.run,
    "ledger": ledger.run,
    "gateway": gateway.run,
}
"""Every benchmark by name, in the order they run."""

REPETITIONS = 5
"""Rounds of each benchmark unless told otherwise; a warm-up round is extra."""


def main() -> int:
    """Run what was asked for and return the exit status."""
    arguments = _arguments()
    results = []
    with tempfile.TemporaryDirectory(
        prefix="sallyport-bench-", dir=arguments.scratch
    ) as folder:
        machine = describe(Path(folder))
        if not arguments.json:
            print("  ".join(f"{name}={value}" for name, value in machine.items()))
        for name in arguments.names or BENCHMARKS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            scratch = Path(folder) / name
            scratch.mkdir()
            plan = Plan(
                repetitions=arguments.repetitions,
                quick=arguments.quick,
                scratch=scratch,
            )
            result = BENCHMARKS[name](plan)
            results.append(result)
            if not arguments.json:
                print("", table(result), sep="\n", flush=True)
    if arguments.json:
        found = {
            "machine": machine,
            "quick": arguments.quick,
            "benchmarks": [result.to_json() for result in results],
        }
        print(json.dumps(found, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="print JSON, every value")
    parser.add_argument(
        "--quick", action="store_true", help="an eighth of the work: does it run at all"
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, metavar="N")
    parser.add_argument(
        "--scratch", type=Path, metavar="FOLDER", help="on the disk to be measured"
    )
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is called {name}; try {', '.join(BENCHMARKS)}")
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
