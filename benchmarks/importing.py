"""What ``import streamkit`` costs in a fresh interpreter, and what it must not load."""

from importlib.util import find_spec

from benchmarks.effort import Effort
from benchmarks.processes import Job, best_of, python
from benchmarks.report import Bounded, Compared, Row

NETWORK_LIBRARIES = ("aiohttp", "httpcore", "httpx", "opentelemetry", "redis", "requests", "rich", "urllib3")

_CPU = "import {module}, time; print(time.process_time())"
_LOADED = "import sys, streamkit; print(sum(name in sys.modules for name in {names}))"


def rows(effort: Effort) -> list[Row]:
    """Measure and compare; the interpreter's own start counts on both sides."""
    figures = best_of(effort.rounds, {name: Job(milliseconds, {"module": name}) for name in ("streamkit", "openai")})
    own, peer = figures["streamkit"], figures["openai"]
    loaded = int(python("-c", _LOADED.format(names=NETWORK_LIBRARIES)))
    return [
        Compared("import streamkit, CPU of a fresh interpreter", "ms", own, "import openai", peer, 1 / 3),
        Bounded("network libraries loaded by import streamkit", "", loaded, 0),
    ]


def milliseconds(module: str) -> float:
    """Return the CPU time of a fresh interpreter that imports a module.

    Raises:
        ModuleNotFoundError: the module is not installed.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(name=module)
    return float(python("-c", _CPU.format(module=module))) * 1e3
