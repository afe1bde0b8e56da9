"""A web service with FastAPI: the run is a dependency, so that it lives exactly as long as its request.

Run it with ``python examples/fastapi_service.py`` and open http://127.0.0.1:8000/answer?prompt=Hello. It takes
``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and ``OPENAI_MODEL``; without a base URL it brings its own server. ``PORT=0``
takes a free port.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from streamkit import Client, StreamRun, UnfinishedResponse
from streamkit.testing import LocalServer

MODEL = os.environ.get("OPENAI_MODEL", "any")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Share one client, and its connections, between all requests."""
    async with AsyncExitStack() as stack:
        base_url = os.environ.get("OPENAI_BASE_URL")
        if base_url is None:
            base_url = (await stack.enter_async_context(LocalServer(tokens_per_second=30))).url
        app.state.client = await stack.enter_async_context(Client(base_url=base_url))
        yield


async def opened_run(request: Request, prompt: str = "Hello") -> AsyncIterator[StreamRun]:
    """Send the prompt, and answer 502 where the model does not answer."""
    client: Client = request.app.state.client
    async with client.stream(model=MODEL, input=prompt) as run:
        try:
            await run.opened()
        except UnfinishedResponse as error:
            print(f"no answer: {error}", flush=True)
            raise HTTPException(502, "The model does not answer.") from error
        yield run
    print(f"{run.response_id}: {type(await run.outcome()).__name__}", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/answer")
async def answer(run: Annotated[StreamRun, Depends(opened_run)]) -> StreamingResponse:
    """Answer the prompt as a stream of plain text. A browser that leaves cancels the run."""
    deltas = run.events("response.output_text.delta")
    return StreamingResponse((event.delta async for event in deltas), media_type="text/plain")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
