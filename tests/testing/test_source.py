"""The scripted source, alone and under a run."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from streamkit.cursor import Cursor
from streamkit.errors import ConnectFailed, ConnectionLost, ServerError
from streamkit.outcome import Completed, Disconnected, Failed
from streamkit.run import StreamRun
from streamkit.testing import (
    Cut,
    CutAfterEvents,
    Drop,
    Fault,
    HttpError,
    LateAnswer,
    NoAnswer,
    Only,
    Pause,
    Redirect,
    ScriptedSource,
    Step,
    encode_event,
    play,
)

pytestmark = pytest.mark.anyio

FRAMES = [encode_event(event) for event in play("text", {"input": "Hi"})]


async def chunks(*steps: Step, faults: Sequence[Fault] = ()) -> list[bytes]:
    return [chunk async for chunk in await ScriptedSource(steps, faults=faults).open(Cursor())]


async def test_the_steps_are_taken_one_by_one() -> None:
    happened = asyncio.Event()
    happened.set()
    assert await chunks(b"a", Pause(0), b"", b"b", happened.wait, b"c", Cut("end"), b"d") == [b"a", b"b", b"c"]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_cut_loses_the_connection(how: Any) -> None:
    opened = await ScriptedSource([b"a", Cut(how), b"b"]).open(Cursor())
    assert await anext(opened) == b"a"
    with pytest.raises(ConnectionLost):
        await anext(opened)
    assert [chunk async for chunk in opened] == []


async def test_nothing_comes_from_a_source_that_was_closed() -> None:
    opened = await ScriptedSource([b"a"]).open(Cursor())
    await opened.aclose()
    await opened.aclose()
    assert [chunk async for chunk in opened] == []


async def test_headers_go_by_any_case() -> None:
    opened = await ScriptedSource([]).open(Cursor())
    assert opened.opened.headers["content-type"] == opened.opened.headers["Content-Type"]


async def test_refusals_are_raised_on_opening() -> None:
    fault = HttpError(429, headers={"retry-after": "3"})
    with pytest.raises(ServerError) as caught:
        await chunks(faults=[fault])
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (429, "injected_fault", 3)
    with pytest.raises(ServerError, match="307"):
        await chunks(faults=[Redirect("/elsewhere")])


async def test_no_answer_is_no_connection() -> None:
    with pytest.raises(ConnectFailed):
        await chunks(faults=[NoAnswer()])


async def test_every_opening_is_a_connection_of_its_own() -> None:
    source = ScriptedSource([b"data: 1\n\n", b"data: 2\n\n"], faults=[Only(Drop(0), connection=2)])
    counts = [len([chunk async for chunk in await source.open(Cursor())]) for _ in range(3)]
    assert (counts, source.opened_count) == ([2, 1, 2], 3)


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([], Completed),
        ([LateAnswer(0)], Completed),
        ([CutAfterEvents(5)], Disconnected),
        ([HttpError(500)], Failed),
        ([NoAnswer()], Disconnected),
    ],
)
async def test_a_run_ends_as_it_would_over_a_socket(faults: list[Fault], kind: type) -> None:
    async with StreamRun(ScriptedSource(FRAMES, faults=faults)) as run:
        assert type(await run.outcome()) is kind
