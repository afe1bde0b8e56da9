"""Clients of the local server: the official one, and a bare one that shows what is on the wire."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from openai import AsyncOpenAI

from streamkit.sse import Decoder
from streamkit.testing import LocalServer


@asynccontextmanager
async def official_client(server: LocalServer, api_key: str = "any", **options: Any) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.url, api_key=api_key, **{"max_retries": 0, **options}) as client:
        yield client


@asynccontextmanager
async def both(**options: Any) -> AsyncIterator[tuple[LocalServer, AsyncOpenAI]]:
    async with LocalServer(**options) as server, official_client(server) as client:
        yield server, client


async def posted(server: LocalServer, body: Any, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/responses", data=data, headers=headers) as response,
    ):
        content = await response.read()
        if response.content_type == "application/json":
            return response.status, json.loads(content)
        return response.status, events_in(content)


def events_in(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in Decoder().feed(content)]


async def exchanged(server: LocalServer, request: bytes) -> tuple[bytes, type[OSError] | None]:
    """Write a request to a connection of its own; return all the bytes that come back, and how the reading failed."""
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    loop = asyncio.get_running_loop()
    # Streams of asyncio forget what came before a reset; a bare socket still gives it.
    with await _connected(host, int(port)) as connection:
        await loop.sock_sendall(connection, request)
        received = bytearray()
        try:
            while chunk := await loop.sock_recv(connection, 65536):
                received += chunk
        except OSError as error:
            return bytes(received), type(error)
    return bytes(received), None


async def _connected(host: str, port: int) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, port))
    return connection


def get(path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "host: localhost", "connection: close"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
