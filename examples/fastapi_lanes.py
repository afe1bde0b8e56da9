"""A FastAPI service that keeps what it streams: the browser gets server-sent events, a slow database has a lane.

Run it with ``python examples/fastapi_lanes.py`` and open http://127.0.0.1:8000/chat?prompt=Hello. It takes
``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and ``OPENAI_MODEL``; without a base URL it brings its own server. ``PORT=0``
takes a free port.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from streamkit import Client, Closed, Lane, Run, StreamRun, UnfinishedResponse
from streamkit.events import OutputTextDelta
from streamkit.testing import LocalServer

MODEL = os.environ.get("OPENAI_MODEL", "any")
INSERT_SECONDS = 0.05


@dataclass
class Chat:
    """What a run knows of its request: the type of ``run.state``."""

    user: str
    rows: int = 0
    characters: int = 0


# Behind on its work, the lane gets fewer and bigger deltas: the browser never waits for the database.
database = Lane(name="database", max_events=16, when_full="merge")


async def insert(event: OutputTextDelta, run: Run[Chat]) -> None:
    """Write a piece of the answer into a database that takes its time."""
    await asyncio.sleep(INSERT_SECONDS)
    run.state.rows += 1
    run.state.characters += len(event.delta)


def report(closed: Closed, run: Run[Chat]) -> None:
    """Say what was written: all of the answer, unless the browser left, and so cancelled the rest."""
    chat = run.state
    ending = type(closed.outcome).__name__
    print(f"{run.response_id} of {chat.user}: {ending}, {chat.characters} characters in {chat.rows} rows", flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Share one client, and its connections, between all requests."""
    async with AsyncExitStack() as stack:
        base_url = os.environ.get("OPENAI_BASE_URL")
        if base_url is None:
            base_url = (await stack.enter_async_context(LocalServer(tokens_per_second=30))).url
        app.state.client = await stack.enter_async_context(Client(base_url=base_url))
        yield


async def opened_run(request: Request, prompt: str = "Hello", user: str = "guest") -> AsyncIterator[StreamRun[Chat]]:
    """Send the prompt, and answer 502 where the model does not answer."""
    client: Client = request.app.state.client
    async with client.stream(model=MODEL, input=prompt, state=Chat(user)) as run:
        run.on("response.output_text.delta", lane=database)(insert)
        run.on(Closed)(report)
        try:
            await run.opened()
        except UnfinishedResponse as error:
            raise HTTPException(502, "The model does not answer.") from error
        yield run


async def text_events(run: StreamRun[Chat]) -> AsyncIterator[str]:
    """Turn the answer into server-sent events; the handlers of the run get theirs meanwhile."""
    async for text in run.text_stream():
        yield f"data: {json.dumps(text)}\n\n"
    yield "event: done\ndata:\n\n"


app = FastAPI(lifespan=lifespan)


@app.get("/chat")
async def chat(run: Annotated[StreamRun[Chat], Depends(opened_run)]) -> StreamingResponse:
    """Answer the prompt as a stream of server-sent events. A browser that leaves cancels the run."""
    return StreamingResponse(text_events(run), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
