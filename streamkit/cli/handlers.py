"""The user's own handlers, named on the command line as ``module:object``."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from streamkit.dispatch import Dispatcher, StreamHandler, combine, is_dispatcher
from streamkit.dispatch.handler import AnyFunction
from streamkit.errors import UsageError


def load_handlers(name: str) -> Dispatcher[Any]:
    """Import the handlers of that name; modules of the current directory can be named.

    Raises:
        UsageError: there is no such module or object, it does not import, or it is nothing that handles events.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise UsageError(f"handlers are named as MODULE:OBJECT, such as my_handlers:dispatcher, not as {name!r}")
    return combine((_instance(_object_at(_import(module_name), path)),))


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"cannot import the module {name!r}: {reason}") from error


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
