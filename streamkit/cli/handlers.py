"""The user's own handlers, named on the command line as ``module:object``."""

import sys
from importlib import import_module
from pathlib import Path
from traceback import walk_tb
from types import CoroutineType, FrameType, ModuleType
from typing import Any, cast

from streamkit.dispatch import Dispatcher, StreamHandler, combine, is_dispatcher
from streamkit.dispatch.handler import AnyFunction
from streamkit.errors import UsageError

LOOPS = {"asyncio", "anyio", "uvloop"}
"""The packages that run a program in an event loop, and refuse to do so within another one."""
GUARD = "under if __name__ == '__main__'"
"""Where a module has what is not to happen when it is imported."""


def load_handlers(module: str, path: str) -> Dispatcher[Any]:
    """Import the handlers that stand at that path in a module; those of the current directory can be named.

    Call it while an event loop runs: a module that runs its whole program on import is stopped by that.

    Raises:
        UsageError: there is no such module or object, it does not import, or it is nothing that handles events.
    """
    return combine((_instance(_object_at(_import(module), path)),))


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except SystemExit as error:
        ending = f"sys.exit({error.code!r})"
        raise UsageError(f"importing {name!r} calls {ending}: put what runs the program {GUARD}") from error
    except Exception as error:
        frames = [frame for frame, _ in walk_tb(error.__traceback__)]
        if isinstance(error, RuntimeError) and _is_of_a_loop(frames[-1]):
            _close_coroutines(frames)
            raise UsageError(f"importing {name!r} runs the program: put asyncio.run(...) {GUARD}") from error
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"cannot import the module {name!r}: {reason}") from error


def _is_of_a_loop(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in LOOPS


def _close_coroutines(frames: list[FrameType]) -> None:
    """Close what the program would have run: Python would warn that it was never awaited."""
    for value in [value for frame in frames for value in frame.f_locals.values()]:
        if isinstance(value, CoroutineType):
            value.close()


def _object_at(module: ModuleType, path: str) -> object:
    found: object = module
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"the module {module.__name__!r} has no {path!r}")
        found = getattr(found, name)
    return found


def _instance(found: object) -> Dispatcher[Any] | StreamHandler | AnyFunction:
    if isinstance(found, type):
        return _made(cast("type[object]", found))
    if is_dispatcher(found):
        return found
    if isinstance(found, StreamHandler) or callable(found):
        return found
    raise UsageError(f"{found!r} handles no events: it is no Dispatcher, StreamHandler or function")


def _made(handler: type[object]) -> StreamHandler:
    if not issubclass(handler, StreamHandler):
        raise UsageError(f"{handler.__qualname__} handles no events: it is a class, but no StreamHandler")
    try:
        return handler()
    except TypeError as error:
        raise UsageError(f"cannot make a {handler.__qualname__}: {error}; name an instance of it") from error
