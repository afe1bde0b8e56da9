"""Moderation: for how long text is held, how many checks it takes, and what a delta costs, for several windows.

Run it with ``python -m benchmarks.moderation``. Streams are paced in real time, all settings at once.
"""

import argparse
import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice, product
from statistics import fmean, quantiles
from typing import cast

from benchmarks.report import circumstances
from streamkit.context import Run
from streamkit.events import Event, OutputTextDelta, OutputTextDone
from streamkit.outcome import Notice
from streamkit.stages.moderation import Moderate
from streamkit.verdict import Verdict

WINDOWS = (50, 100, 200, 400, 800)
CHECK_SECONDS = (0.05, 0.15, 0.3)
OVERLAP = 40
TOKENS_PER_SECOND = 50
TOKENS = ("The", " river", " begins", " high", " in", " the", " mountains", ",", " where", " snow", " melts", ".")
CPU_DELTAS = 20_000


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    window: int
    check_seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a setting costs: seconds that a token is held, and checks for each thousand tokens."""

    setting: Setting
    first: float
    mean: float
    most: float
    checks: float

    def cells(self) -> tuple[str, ...]:
        """Return the texts under the headings."""
        seconds = (f"{value:.2f} s" for value in (self.first, self.mean, self.most))
        return f"{self.setting.window}", f"{self.setting.check_seconds * 1000:.0f} ms", *seconds, f"{self.checks:.0f}"


HEADINGS = ("window", "check takes", "first text held", "held on average", "95 % within", "checks per 1,000 tokens")


class Paced:
    """One stream under moderation, with the time at which each of its tokens came."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._checks = 0
        self._called = asyncio.Event()
        stage = Moderate(self._check, window=setting.window, overlap=OVERLAP, every=None)
        self._passage = stage.open(cast("Run", None), self._called.set)
        self._came: deque[float] = deque()
        self._held: list[float] = []

    async def figures(self, tokens: int) -> Figures:
        """Stream so many tokens and return what it cost."""
        releasing = asyncio.create_task(self._release(tokens))
        begun = time.perf_counter()
        for number, token in enumerate(islice(cycle(TOKENS), tokens)):
            await asyncio.sleep(begun + number / TOKENS_PER_SECOND - time.perf_counter())
            self._came.append(time.perf_counter())
            self._note(self._passage.feed(_delta(token)))
        self._note(self._passage.finish())
        await releasing
        await self._passage.aclose()
        most = quantiles(self._held, n=20)[-1]
        return Figures(self._setting, self._held[0], fmean(self._held), most, self._checks * 1000 / tokens)

    async def _check(self, _: str) -> Verdict:
        self._checks += 1
        await asyncio.sleep(self._setting.check_seconds)
        return Verdict(flagged=False)

    async def _release(self, tokens: int) -> None:
        while len(self._held) < tokens:
            await self._called.wait()
            self._called.clear()
            self._note(self._passage.release())

    def _note(self, passed: Iterable[Event | Notice]) -> None:
        now = time.perf_counter()
        self._held += [now - self._came.popleft() for _ in passed]


def _delta(text: str) -> OutputTextDelta:
    return OutputTextDelta(delta=text, output_index=0, content_index=0)


async def measure(tokens: int) -> list[Figures]:
    """Measure all settings."""
    settings = [Setting(window, seconds) for seconds, window in product(CHECK_SECONDS, WINDOWS)]
    return await asyncio.gather(*(Paced(setting).figures(tokens) for setting in settings))


async def microseconds_per_delta(deltas: int) -> float:
    """Return the CPU time that the stage takes for a delta, with a check that answers at once."""

    async def check(_: str) -> Verdict:
        return Verdict(flagged=False)

    called = asyncio.Event()
    passage = Moderate(check).open(cast("Run", None), called.set)
    events = [_delta(token) for token in islice(cycle(TOKENS), deltas)]
    done = OutputTextDone(text="".join(event.delta for event in events), output_index=0, content_index=0)
    before = time.process_time()
    passed = 0
    for number, event in enumerate((*events, done)):
        passed += sum(1 for _ in passage.feed(event))
        if number % 20 == 0:
            await asyncio.sleep(0)
            passed += sum(1 for _ in passage.release())
    while passed <= deltas:
        await asyncio.sleep(0)
        passed += sum(1 for _ in passage.release())
    await passage.aclose()
    return (time.process_time() - before) * 1e6 / deltas


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser("python -m benchmarks.moderation", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1000, help="tokens of each stream")
    tokens = parser.parse_args().tokens
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(figures.cells() for figures in asyncio.run(measure(tokens)))]
    print(circumstances())
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
    for deltas in (CPU_DELTAS, CPU_DELTAS * 10):
        print(f"{asyncio.run(microseconds_per_delta(deltas)):.1f} µs of CPU for each of {deltas:,} deltas")


if __name__ == "__main__":
    main()
