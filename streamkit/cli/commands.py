"""What each command does."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TextIO

from streamkit.api import api_named
from streamkit.cli.handlers import load_handlers
from streamkit.cli.meter import Meter
from streamkit.cli.output import write_out
from streamkit.cli.printing import measuring, naming, printing, reporting
from streamkit.cli.screen import PlainScreen, Screen, screen_for, tell
from streamkit.client import Client
from streamkit.dispatch import Dispatcher
from streamkit.errors import ConnectionLost, NotAnEventStream, UsageError
from streamkit.outcome import Outcome, UnfinishedResponse
from streamkit.response import Response
from streamkit.run import StreamRun
from streamkit.sources.files import FileSource
from streamkit.testing import LocalServer

DEMO_PROMPT = "How does a river become the sea?"


def execute(options: argparse.Namespace) -> None:
    """Run the command that the options name.

    Raises:
        StreamkitError: it failed.
        KeyboardInterrupt: ctrl-C stopped it.
        BrokenPipeError: nobody reads its output any more.
        Exception: whatever the user's handlers raised.
    """
    asyncio.run(_COMMANDS[options.command](options))


async def run_demo(options: argparse.Namespace) -> None:
    """Stream an answer from a server in this process."""
    server = LocalServer(
        scenario=options.scenario,
        tokens_per_second=options.tokens_per_second,
        faults=options.faults,
    )
    async with (
        server,
        Client(base_url=server.url, api_key="demo") as client,
        client.stream(model="demo", input=DEMO_PROMPT) as run,
    ):
        await _follow(run)


async def run_prompt(options: argparse.Namespace) -> None:
    """Send a prompt and stream the answer."""
    handlers = _named_handlers(options)
    prompt = _typed_prompt() if options.prompt == "-" else options.prompt
    background = True if options.background else None
    async with (
        Client(base_url=options.base_url) as client,
        client.stream(
            record=options.record, api=options.api, model=options.model, input=prompt, background=background
        ) as run,
    ):
        await _follow(run, handlers, told=naming if options.background else reporting)


async def run_resume(options: argparse.Namespace) -> None:
    """Take up the stream of a background response."""
    handlers = _named_handlers(options)
    async with (
        Client(base_url=options.base_url) as client,
        client.resume(options.response_id, after=options.after, record=options.record) as run,
    ):
        await _follow(run, handlers)


async def run_replay(options: argparse.Namespace) -> None:
    """Stream an answer from a recording, or from an event stream as it is written to a pipe."""
    handlers = _named_handlers(options)
    if _is_whole(options.file):
        async with Client() as client, client.replay(options.file, speed=options.speed, api=options.api) as run:
            await _follow_saved(run, handlers, options)
    else:
        await _follow_pipe(handlers, options)


async def run_server(options: argparse.Namespace) -> None:
    """Answer requests until ctrl-C."""
    server = LocalServer(
        options.host,
        options.port,
        scenario=options.scenario,
        tokens_per_second=options.tokens_per_second,
        background_stream_seconds=options.background_stream_seconds,
        faults=options.faults,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except (OSError, UnicodeError) as error:
            place = f"{options.host}:{options.port}"
            raise UsageError(f"cannot listen on {place}: {error}; choose another --port or --host") from error
        write_out(f"{server.url}\n")
        tell(f"try: streamkit run 'Hello!' --model any --base-url {server.url}\nctrl-C stops the server")
        await server.serve_forever()


async def explain_handlers(options: argparse.Namespace) -> None:
    """Show which handlers are called for what, and warn of those that never are."""
    explanation = load_handlers(*options.handlers).explain()
    write_out(f"{explanation.text}\n")
    for warning in explanation.warnings:
        tell(f"warning: {warning}", "yellow")


async def _follow_pipe(handlers: Dispatcher | None, options: argparse.Namespace) -> None:
    source = FileSource(_standard_input().fileno() if options.file == "-" else options.file)
    api = api_named(options.api or "responses")
    async with StreamRun(source, translator=api.translator, api=api.name) as run:
        try:
            await _follow_saved(run, handlers, options)
        except UnfinishedResponse as error:
            if not run.stats.events and isinstance(error.__cause__, ConnectionLost | NotAnEventStream):
                raise UsageError(f"{options.file} holds no event stream") from error
            raise


async def _follow_saved(run: StreamRun, handlers: Dispatcher | None, options: argparse.Namespace) -> None:
    """Follow a run as ``_follow`` does, and say so where what was saved may be of another API than the one assumed."""
    try:
        await _follow(run, handlers)
    except UnfinishedResponse as error:
        assumed = options.api is None and run.api == "responses"
        if assumed and run.stats.events and run.response_id is None and isinstance(error.__cause__, ConnectionLost):
            raise UsageError(f"{error}; if it comes from a chat server, add --api chat") from error
        raise


async def _follow(
    run: StreamRun, handlers: Dispatcher | None = None, *, told: Callable[[Screen], Dispatcher] = reporting
) -> None:
    """Dispatch a run to the user's handlers, else to the screen, and say in the end what it came to.

    Raises:
        UnfinishedResponse: the response did not complete.
        Exception: whatever the user's handlers raised.
    """
    meter = Meter(time.monotonic(), run.stats)
    # A live line and what handlers print would overwrite each other.
    screen = PlainScreen() if handlers else screen_for(lambda: meter.status(time.monotonic()))
    try:
        with screen:
            response = await run.dispatch(measuring(meter), told(screen), handlers or printing(screen))
    except asyncio.CancelledError:
        _summarise("cancelled", run.snapshot(), meter)
        raise
    except UnfinishedResponse as error:
        if meter.deltas:
            _summarise(_name(error.outcome), error.response, meter)
        raise
    _summarise("completed", response, meter)


def _summarise(ending: str, response: Response, meter: Meter) -> None:
    tell(meter.summary(ending, response, time.monotonic()))


def _name(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()


def _typed_prompt() -> str:
    try:
        return _standard_input().buffer.read().decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"cannot read standard input: {error.strerror or error}") from error


def _standard_input() -> TextIO:
    if sys.stdin is None:
        raise UsageError("standard input is closed, so there is nothing to be read from it")
    return sys.stdin


def _is_whole(name: str) -> bool:
    """Tell a file from standard input and pipes, which are shown as they are written."""
    return name != "-" and Path(name).is_file()


def _named_handlers(options: argparse.Namespace) -> Dispatcher | None:
    return load_handlers(*options.handlers) if options.handlers else None


_COMMANDS: dict[str, Callable[[argparse.Namespace], Coroutine[None, None, None]]] = {
    "demo": run_demo,
    "run": run_prompt,
    "resume": run_resume,
    "serve": run_server,
    "replay": run_replay,
    "explain": explain_handlers,
}
