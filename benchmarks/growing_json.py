"""Growing JSON in small pieces: time must grow with the text and no faster, far below parsing every prefix anew."""

import json
from collections.abc import Callable, Mapping
from itertools import cycle, islice

from pydantic_core import from_json

from benchmarks.effort import Effort
from benchmarks.processes import Argument, Job, best_of
from benchmarks.report import Compared, Row
from benchmarks.timing import best_cpu_seconds
from streamkit.partial_json import GrowingJson

CHARACTERS_PER_TOKEN = 20
"""The document is this much longer than a stream has tokens: 80,000 characters where those are 4,000."""
PIECE = 4
PARSED_PREFIX = 20
"""Only one prefix in so many is parsed, and counted so many times: all of them would take minutes."""
PEER = "pydantic_core.from_json on every prefix"

PROSE = (
    "The harbour lay still that morning, and the boats with it; a gull walked the quay as if it owned the place. ",
    'Nobody had told the captain. "We leave at noon," she said, and went below to look for her other glove.\n\n',
    "By eleven the wind had turned (by 15°, no more) and the whole crew was looking at the flag.\n",
)


def rows(effort: Effort) -> list[Row]:
    """Measure and compare for each shape of document."""
    return [row for shape in SHAPES for row in _rows(effort, shape, effort.tokens * CHARACTERS_PER_TOKEN)]


def _rows(effort: Effort, shape: str, size: int) -> list[Row]:
    whole: dict[str, Argument] = {"shape": shape, "size": size}
    jobs = {
        "whole": Job(milliseconds, whole),
        "half": Job(milliseconds, {**whole, "size": size // 2}),
        "with values": Job(milliseconds_with_values, whole),
        "peer": Job(peer_milliseconds, whole),
    }
    figures = best_of(effort.rounds, jobs)
    what = f"growing JSON, {shape}, {size:,} characters by {PIECE}"
    return [
        Compared(what, "ms", figures["whole"], f"{size // 2:,} characters", figures["half"], 2.2),
        Compared(what, "ms", figures["whole"], PEER, figures["peer"], 1 / 50),
        Compared(f"{what}, value read each time", "ms", figures["with values"], PEER, figures["peer"], None),
    ]


def milliseconds(shape: str, size: int) -> float:
    """Return the CPU time of following a document of that size by its changes."""
    pieces = _pieces(SHAPES[shape](size))

    def work() -> None:
        grower = GrowingJson()
        for piece in pieces:
            grower.feed(piece)
        assert grower.is_complete

    return best_cpu_seconds(work, repetitions=5) * 1e3


def milliseconds_with_values(shape: str, size: int) -> float:
    """Return the CPU time of following a document of that size by reading the whole value after each piece."""
    pieces = _pieces(SHAPES[shape](size))

    def work() -> None:
        grower = GrowingJson()
        for piece in pieces:
            grower.feed(piece)
            assert grower.value is not None

    return best_cpu_seconds(work, repetitions=5) * 1e3


def peer_milliseconds(shape: str, size: int) -> float:
    """Return the CPU time of parsing what there is after each piece."""
    document = SHAPES[shape](size)
    ends = range(PIECE, len(document) + 1, PIECE * PARSED_PREFIX)

    def work() -> None:
        for end in ends:
            from_json(document[:end], allow_partial="trailing-strings")

    return best_cpu_seconds(work, repetitions=1) * 1e3 * PARSED_PREFIX


def _pieces(document: str) -> list[str]:
    return [document[start : start + PIECE] for start in range(0, len(document), PIECE)]


def _long_text(size: int) -> str:
    text = "".join(islice(cycle(PROSE), size // len(min(PROSE, key=len)) + 1))
    return json.dumps({"title": "Noon", "text": text[:size]}, ensure_ascii=False)


def _records(size: int) -> str:
    record = {"id": 17, "name": "Anna Berg", "tags": ["new", "north"], "price": 12.5, "in_stock": True, "note": None}
    return json.dumps([record] * (size // len(json.dumps(record)) + 1))


SHAPES: Mapping[str, Callable[[int], str]] = {
    "one long text": _long_text,
    "many small objects": _records,
}
