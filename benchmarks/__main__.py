"""``python -m benchmarks [NAME ...]``: measure, and print what was found."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    gateway,
    import_bundle,
    ledger,
    ledger_growth,
    ledger_served,
)
from benchmarks.engine import ENGINE
from benchmarks.machine import describe
from benchmarks.measure import Plan
from benchmarks.report import table

BENCHMARKS = {
    "import_bundle": import_bundle.run,
    "ledger": ledger.run,
    "ledger_served": ledger_served.run,
    "ledger_growth": ledger_growth.run,
    "gateway": gateway.run,
    **ENGINE,
}
"""Every benchmark by name, in the order they run."""

GROUPS = {"engine": tuple(ENGINE)}
"""Names that stand for several benchmarks."""

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
        for name in _expanded(arguments.names) or BENCHMARKS:
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


def _expanded(names: list[str]) -> list[str]:
    """Return the names of single benchmarks that ``names`` stand for."""
    return [each for name in names for each in GROUPS.get(name, (name,))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join((*BENCHMARKS, *GROUPS))
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)
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
        if name not in BENCHMARKS and name not in GROUPS:
            parser.error(f"no benchmark is called {name}; try {known}")
    if arguments.repetitions < 1:
        parser.error("--repetitions must be at least 1")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
