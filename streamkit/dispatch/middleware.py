"""Middleware: functions around the handlers of a dispatcher, inspected once."""

import inspect

from streamkit.dispatch.handler import AnyFunction, is_async, name_of
from streamkit.dispatch.table import Middleware
from streamkit.errors import UsageError


def middleware_for(function: AnyFunction) -> Middleware:
    """Inspect a function and return the middleware that calls it.

    Raises:
        UsageError: it is no coroutine function, or cannot be called with ``(event, run, call_next)``.
    """
    name = name_of(function)
    if not is_async(function):
        raise UsageError(f"middleware {name} must be an async function (event, run, call_next)")
    signature = inspect.signature(function)
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        raise UsageError(f"middleware {name}{signature} must take (event, run, call_next)") from error
    return Middleware(function, name)
