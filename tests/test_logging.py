"""The log: what a run tells of itself at each level, and that it never tells what was said or with which key."""

import asyncio
import logging

import pytest

from streamkit import Client, Dispatcher, Retry, StreamRun
from streamkit.testing import LocalServer
from tests.raw_server import answering, head, ok, raw_server
from tests.scripted import HELLO, ScriptedSource

pytestmark = pytest.mark.anyio

KEY, QUESTION = "sk-very-secret", "my private question"
QUOTES_ALL = f'{{"error": {{"message": "{KEY} asked {QUESTION}", "code": "overloaded"}}}}'.encode()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(r.levelname, r.getMessage()) for r in log.records if r.name.split(".")[0] == "streamkit"]


async def test_a_whole_run_tells_figures_and_nothing_that_was_said(log: pytest.LogCaptureFixture) -> None:
    async with LocalServer() as server, Client(base_url=server.url, api_key=KEY) as client:
        response = await client.run(Dispatcher(), model="m", input=QUESTION, instructions=QUESTION)
    assert QUESTION in response.output_text
    opened, ended = lines(log)
    assert opened[0] == ended[0] == "DEBUG"
    assert opened[1].startswith("attempt 1: status 200, request req_")
    assert ended[1].startswith(f"Completed: response {response.id}, RunStats(")
    for secret in (KEY, QUESTION, response.output_text):
        assert secret not in log.text


async def test_an_attempt_that_failed_is_told_without_the_servers_words(log: pytest.LogCaptureFixture) -> None:
    answers = [head("503 Unavailable") + QUOTES_ALL, ok(b"".join(HELLO))]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answers.pop(0))(reader, writer)

    async with raw_server(answer) as base_url, Client(base_url=base_url, api_key=KEY) as client:
        await client.run(Dispatcher(), model="m", input=QUESTION, retry=Retry(first_delay=0))
    assert ("INFO", "Reopen in 0.00 s after overloaded, response None") in lines(log)
    for secret in (KEY, QUESTION, "Hello"):
        assert secret not in log.text


async def test_a_stream_that_came_all_at_once_is_a_warning(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamkit.stats.BUFFERED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("streamkit.stats.BUFFERED_EVENTS", 1)
    monkeypatch.setattr("streamkit.stats.BUFFERED_SPREAD", 1.0)
    async with StreamRun(ScriptedSource(b"".join(HELLO))) as run:
        await run.dispatch(Dispatcher())
    assert ("WARNING", "response resp_1 came all at once after 0.0 s: a proxy may collect it") in lines(log)


async def test_a_server_that_cannot_be_told_to_cancel_is_a_warning(log: pytest.LogCaptureFixture) -> None:
    answers = [ok(HELLO[0]), head("500 Oh") + QUOTES_ALL]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answers.pop(0))(reader, writer)

    async with (
        raw_server(answer) as base_url,
        Client(base_url=base_url, api_key=KEY) as client,
        client.stream(model="m", input=QUESTION, background=True) as run,
    ):
        await run.opened()
        await anext(aiter(run))
        run.cancel(server=True)
    assert ("WARNING", "the server was not told to cancel response resp_1: overloaded") in lines(log)
    assert KEY not in log.text


def test_loggers_are_named_after_their_modules() -> None:
    ours = {name for name in logging.root.manager.loggerDict if name.startswith("streamkit.")}
    assert {"streamkit.run", "streamkit.stream"} <= ours
