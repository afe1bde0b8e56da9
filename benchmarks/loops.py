"""Event loops by name, and the CPU time that a coroutine takes on one."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

ASYNCIO = "asyncio"
UVLOOP = "uvloop"


def run_on(loop: str, main: Coroutine[Any, Any, float]) -> float:
    """Run a coroutine to its end on a loop of that kind.

    Raises:
        ModuleNotFoundError: uvloop is asked for and not installed.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module(loop).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def cpu_seconds(work: Coroutine[Any, Any, object]) -> float:
    """Await something and return the CPU time that this process spent meanwhile, in seconds.

    Garbage is collected before it: else it is chance whether a collection of everything, which what went before has
    made due, falls into the time that is measured.
    """
    gc.collect()
    before = time.process_time()
    await work
    return time.process_time() - before
