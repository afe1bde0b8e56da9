"""A web service with aiohttp: streams the answer to a browser, and answers 502 where there will be none.

Run it with ``python examples/aiohttp_service.py`` and open http://127.0.0.1:8080/answer?prompt=Hello. It takes
``OPENAI_BASE_URL``, ``OPENAI_API_KEY`` and ``OPENAI_MODEL``; without a base URL it brings its own server. ``PORT=0``
takes a free port.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import web

from streamkit import Client, Outcome, StreamHandler, UnfinishedResponse
from streamkit.events import OutputTextDelta
from streamkit.testing import LocalServer

MODEL = os.environ.get("OPENAI_MODEL", "any")
CLIENT = web.AppKey("CLIENT", Client)


class Browser(StreamHandler):
    """Passes the text on. While the browser is slow, reading from the model waits for it."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    async def on_text_delta(self, event: OutputTextDelta) -> None:
        """Write one piece."""
        await self._response.write(event.delta.encode())

    async def on_close(self, outcome: Outcome) -> None:
        """Log how it ended; a browser that left makes it ``Cancelled``."""
        print(f"{outcome.response.id}: {type(outcome).__name__}", flush=True)


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer the prompt as a stream of plain text."""
    async with request.app[CLIENT].stream(model=MODEL, input=request.query.get("prompt", "Hello")) as run:
        try:
            await run.opened()
        except UnfinishedResponse as error:
            # Nothing has been sent to the browser yet, so that it can still be told.
            print(f"no answer: {error}", flush=True)
            raise web.HTTPBadGateway(text="The model does not answer.") from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        # Should the answer break off, this raises, and the connection is cut: the browser sees that the end is missing.
        await run.dispatch(Browser(response))
        await response.write_eof()
        return response


async def model_client(app: web.Application) -> AsyncIterator[None]:
    """Share one client, and its connections, between all requests."""
    async with AsyncExitStack() as stack:
        base_url = os.environ.get("OPENAI_BASE_URL")
        if base_url is None:
            base_url = (await stack.enter_async_context(LocalServer(tokens_per_second=30))).url
        app[CLIENT] = await stack.enter_async_context(Client(base_url=base_url))
        yield


def create_app() -> web.Application:
    """Put the service together."""
    app = web.Application()
    app.cleanup_ctx.append(model_client)
    app.router.add_get("/answer", answer)
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), handler_cancellation=True)
