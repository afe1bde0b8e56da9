"""The command: measure what is named, or everything, and print one table."""

import argparse
from collections.abc import Callable, Mapping

from benchmarks import (
    accumulation,
    decoding,
    growing_json,
    handlers,
    importing,
    lanes,
    large_frames,
    many_streams,
    paced,
    saturated,
    unwanted,
)
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.processes import ROOT
from benchmarks.report import Row, as_text, write

PAGE = ROOT / "docs" / "benchmarks.md"

MEASUREMENTS: Mapping[str, Callable[[Effort], list[Row]]] = {
    "saturated": saturated.rows,
    "paced": paced.rows,
    "unwanted": unwanted.rows,
    "handlers": handlers.rows,
    "lanes": lanes.rows,
    "decoding": decoding.rows,
    "accumulation": accumulation.rows,
    "large-frames": large_frames.rows,
    "growing-json": growing_json.rows,
    "importing": importing.rows,
    "many-streams": many_streams.rows,
}


def main() -> None:
    """Measure, print, and renew the page if asked to."""
    options = _options()
    effort = QUICK if options.quick else FULL
    rows = [row for name in options.names or MEASUREMENTS for row in MEASUREMENTS[name](effort)]
    print(as_text(rows))
    if options.write:
        write(PAGE, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure streamkit beside its peers.")
    parser.add_argument("names", nargs="*", help=f"what to measure, by default everything: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds, for a first look")
    parser.add_argument("--write", action="store_true", help="renew the table in docs/benchmarks.md")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(MEASUREMENTS)}")
    if options.write and (options.quick or options.names):
        parser.error("--write takes the full measurement of everything: leave out names and --quick")
    return options


if __name__ == "__main__":
    main()
