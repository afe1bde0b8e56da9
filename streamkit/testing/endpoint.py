"""What an endpoint of the local server is: a method, a path, and what answers there."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from streamkit.testing.answers import Answer

Endpoint: TypeAlias = Callable[[web.Request], Awaitable[Answer]]
Route: TypeAlias = tuple[str, str, Endpoint]
"""The method, the path and the endpoint there."""
