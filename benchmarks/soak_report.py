"""What a soak counted, and how it is told: a section of Markdown."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import circumstances

BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
SHOWN_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the two processes hold at one moment."""

    tasks: int
    sockets: int
    descriptors: int
    server_descriptors: int

    def beyond(self, earlier: "Holdings") -> "Holdings":
        """Return what there is more of than at an earlier moment."""
        return Holdings(
            tasks=max(0, self.tasks - earlier.tasks),
            sockets=max(0, self.sockets - earlier.sockets),
            descriptors=max(0, self.descriptors - earlier.descriptors),
            server_descriptors=max(0, self.server_descriptors - earlier.server_descriptors),
        )


NOTHING = Holdings(0, 0, 0, 0)


@dataclass(kw_only=True, slots=True)
class Tally:
    """The counts of one soak.

    Attributes:
        counts: runs, events and what else there is one number of, by name.
        outcomes, faults, drives: how often each kind came up.
        violations: what should not have happened.
        memory: resident MiB of the client's process, second by second.
        memory_at_end: the same when the client is closed.
        cpu_share: the part of its time in which that process worked.
        longest_delay: by how many seconds its loop was late, at worst.
        left: what is still held when the client is closed.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    drives: Counter[str] = field(default_factory=Counter[str])
    violations: list[str] = field(default_factory=list[str])
    began: float = field(default_factory=time.perf_counter)
    memory: list[float] = field(default_factory=list[float])
    longest_delay: float = 0.0
    memory_at_end: float = 0.0
    cpu_share: float = 0.0
    left: Holdings = NOTHING

    @property
    def passed(self) -> bool:
        """Whether every check held and nothing is left."""
        return not self.violations and self.left == NOTHING


def as_markdown(tally: Tally, *, seconds: float, streams: int, command: str) -> str:
    """Return the section, without its heading."""
    rows = [("runs", _number(tally.counts["runs"])), ("outcomes", _shares(tally.outcomes))]
    names = ("in the background", "events", "retries", "reconnects", "polls", "restarts")
    rows += [(name, _number(tally.counts[name])) for name in names]
    rows += [
        ("driven by", _shares(tally.drives)),
        ("faults asked for", _shares(tally.faults)),
        ("violated checks", _number(len(tally.violations))),
        ("left at the end", _left(tally.left)),
        ("memory of the client", _memory(tally.memory, tally.memory_at_end)),
        ("CPU of the client", f"{tally.cpu_share:.0%} of one core"),
        ("longest delay of its loop", f"{tally.longest_delay * 1000:.0f} ms"),
    ]
    table = [f"| {name} | {text} |" for name, text in rows]
    length = f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
    return "\n".join(
        [
            f"{streams} concurrent streams for {length}. {circumstances()} Repeat with `{command}`.",
            "",
            "| counted | |",
            "| --- | --- |",
            *table,
            *(f"\nViolated: {violation}" for violation in tally.violations[:SHOWN_VIOLATIONS]),
        ]
    )


def write(page: Path, section: str) -> None:
    """Put the section into a page, in place of the one between its markers, or at its end."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] or "\n"
    page.write_text(f"{before}{BEGIN}\n{section}\n{END}{after}", encoding="utf-8")


def _number(count: int) -> str:
    return f"{count:,}"


def _shares(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())


def _left(left: Holdings) -> str:
    client = f"{left.tasks} tasks, {left.sockets} connections, {left.descriptors} descriptors"
    return f"{client}; {left.server_descriptors} descriptors of the server"


def _memory(samples: Sequence[float], at_end: float) -> str:
    """Tell it at a tenth of the time, when everything has been used once, and at each tenth after it."""
    tenths = [samples[len(samples) * tenth // 10] for tenth in range(1, 10)]
    shown = ", ".join(f"{mebibytes:.1f}" for mebibytes in tenths)
    return f"{shown} MiB at each tenth of the time; {at_end:.1f} MiB when the client is closed"
