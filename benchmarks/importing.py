"""What importing streamkit costs in a fresh interpreter, and what it must not load."""

from compileall import compile_dir
from importlib.util import find_spec

from benchmarks.effort import Effort
from benchmarks.processes import ROOT, Job, best_of, python
from benchmarks.report import Bounded, Compared, Row
from benchmarks.wire import frames

NETWORK_LIBRARIES = ("aiohttp", "httpcore", "httpx", "opentelemetry", "redis", "requests", "rich", "urllib3")
SERVICE = "from streamkit import Client, Dispatcher, on"
ITS_SERVICE = "from openai import AsyncOpenAI"
HANDLERS = "from streamkit import Dispatcher, Run, StreamRun, on"
"""What handlers and runs without a client need."""

_CPU = "{statement}; import time; print(time.process_time())"
_LOADED = HANDLERS + "; import sys; print(sum(name in sys.modules for name in {names}))"
_FIRST_TOKENS = 20


def rows(effort: Effort) -> list[Row]:
    """Measure and compare; the interpreter's own start counts on both sides."""
    # An installed package, as the peer is, has been compiled.
    compile_dir(ROOT / "streamkit", quiet=1)
    statements = ("import streamkit", HANDLERS, SERVICE, "import openai", ITS_SERVICE)
    jobs = {statement: Job(milliseconds, {"statement": statement}) for statement in statements}
    figures = best_of(effort.rounds, {**jobs, "first": Job(first_response, {"tokens": _FIRST_TOKENS})})
    loaded = int(python("-c", _LOADED.format(names=NETWORK_LIBRARIES)))
    peer = figures["import openai"]
    return [
        _compared("import streamkit, CPU of a fresh interpreter", figures["import streamkit"], peer, budget=1 / 3),
        _compared(f"{HANDLERS}, the same", figures[HANDLERS], peer),
        _compared("this and a first response from memory, the same", figures["first"], peer),
        _compared(f"{SERVICE}, the same", figures[SERVICE], figures[ITS_SERVICE], ITS_SERVICE),
        Bounded(f"network libraries loaded by {HANDLERS}", "", loaded, 0),
    ]


def milliseconds(statement: str) -> float:
    """Return the CPU time of a fresh interpreter that executes an import statement.

    Raises:
        ModuleNotFoundError: the module is not installed.
    """
    module = statement.split()[1]
    if find_spec(module) is None:
        raise ModuleNotFoundError(name=module)
    return float(python("-c", _CPU.format(statement=statement))) * 1e3


def first_response(tokens: int) -> float:
    """Return the CPU time in milliseconds of a fresh interpreter that reads one response of so many deltas."""
    stream = b"".join(frames(tokens)).decode()
    return float(python("-m", "benchmarks.first_response", stream)) * 1e3


def _compared(
    what: str, own: float | None, its: float | None, peer: str = "import openai", *, budget: float | None = None
) -> Row:
    return Compared(what, "ms", own, peer, its, budget)
