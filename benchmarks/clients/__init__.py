"""The contestants: each opens a client, and gives a function that reads one stream with it to the end."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any

from benchmarks.wire import Shape

Consume = Callable[[Shape], Coroutine[Any, Any, None]]
"""Reads one stream of a shape to its end."""

OpenClient = Callable[[str], AbstractAsyncContextManager[Consume]]
"""Opens a client for a base URL."""

STREAMKIT = "streamkit"
STREAMKIT_AT_END = "streamkit, for the end alone"
FLOOR = "floor"
THROW_AWAY = "aiohttp, thrown away"
ONE_LOOP = "streamkit's parts in one loop"
HTTPX_SSE = "httpx + httpx-sse + json.loads"
OPENAI_CREATE = "openai responses.create"
OPENAI_STREAM = "openai responses.stream"

_PLACES = {
    STREAMKIT: "with_streamkit:dispatching",
    STREAMKIT_AT_END: "with_streamkit:awaiting_the_end",
    FLOOR: "bare_aiohttp:floor",
    THROW_AWAY: "bare_aiohttp:throwing_away",
    ONE_LOOP: "bare_aiohttp:one_loop",
    HTTPX_SSE: "with_httpx_sse:untyped",
    OPENAI_CREATE: "with_openai:creating",
    OPENAI_STREAM: "with_openai:streaming",
}


def load(name: str) -> OpenClient:
    """Import the contestant of that name.

    Raises:
        ModuleNotFoundError: a library that it needs is not installed.
    """
    module, _, function = _PLACES[name].partition(":")
    client: OpenClient = getattr(import_module(f"{__name__}.{module}"), function)
    return client
