"""The CPU time of a function that does not wait."""

import time
from collections.abc import Callable

REPETITIONS = 20


def best_cpu_seconds(work: Callable[[], object], *, repetitions: int = REPETITIONS) -> float:
    """Call a function once to warm up, then repeatedly, and return the CPU time of the quickest call."""
    work()
    return min(_cpu_seconds(work) for _ in range(repetitions))


def _cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before
