"""A run as an iterator of its text, its items and the calls it wants answered."""

import asyncio
from typing import Any

import pytest

from streamkit import Client, ResponseDisconnectedError, Retry, StreamRun
from streamkit.errors import ConnectionLost
from streamkit.items import FunctionCall, Message
from streamkit.testing import LocalServer
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, HELLO, MESSAGE, PART, ScriptedSource, frame

pytestmark = pytest.mark.anyio

TEXT_DONE = frame("response.output_text.done", output_index=0, content_index=0, text="Hello")
ITEM_DONE = frame("response.output_item.done", output_index=0, item=MESSAGE)
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"}
CALL_DONE = frame("response.output_item.done", output_index=0, item=CALL)
CALLED = frame("response.completed", response={"id": "resp_1", "status": "completed", "output": [CALL]})


@pytest.mark.parametrize(
    ("chunks", "texts"),
    [
        (HELLO, ["Hel", "lo"]),
        ([*BEFORE_END, TEXT_DONE, ITEM_DONE, COMPLETED], ["Hel", "lo"]),
        ([CREATED, ADDED, PART, TEXT_DONE, ITEM_DONE, COMPLETED], ["Hello"]),
        ([CREATED, CALL_DONE, CALLED], []),
    ],
)
async def test_the_text_comes_in_the_pieces_of_the_server_and_each_once(chunks: list[bytes], texts: list[str]) -> None:
    async with StreamRun(ScriptedSource(*chunks)) as run:
        assert [text async for text in run.text_stream()] == texts


@pytest.mark.parametrize("done", [[ITEM_DONE], []])
async def test_each_item_comes_once_whether_or_not_the_server_finishes_it_by_itself(done: list[bytes]) -> None:
    async with StreamRun(ScriptedSource(*BEFORE_END, *done, COMPLETED)) as run:
        items = [item async for item in run.items()]
    assert [(type(item), item.id) for item in items] == [(Message, "msg_1")]


@pytest.mark.parametrize("done", [[CALL_DONE], []])
async def test_calls_are_those_items_that_want_an_answer(done: list[bytes]) -> None:
    async with StreamRun(ScriptedSource(CREATED, *done, CALLED)) as run:
        calls = [call async for call in run.tool_calls()]
    assert [(type(call), call.call_id) for call in calls] == [(FunctionCall, "call_1")]
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        assert [call async for call in run.tool_calls()] == []


class Twice:
    """A source that is cut at its first opening, and brings another response at its second."""

    def __init__(self, first: list[bytes], second: list[bytes]) -> None:
        self._sources = [ScriptedSource(*first, ConnectionLost("cut")), ScriptedSource(*second)]

    async def open(self, cursor: Any) -> Any:
        return await self._sources.pop(0).open(cursor)


def begun_anew(first: list[bytes], second: list[bytes]) -> StreamRun:
    return StreamRun(Twice(first, second), restart=True, retry=Retry(first_delay=0))


@pytest.mark.parametrize("brought", [["Hello"], ["Hel", "lo"]])
async def test_the_text_of_a_response_that_begins_anew_follows_whole(brought: list[str]) -> None:
    second = HELLO if len(brought) > 1 else [CREATED, ADDED, PART, TEXT_DONE, ITEM_DONE, COMPLETED]
    async with begun_anew(BEFORE_END, second) as run:
        assert [text async for text in run.text_stream()] == ["Hel", "lo", *brought]
        assert run.text == "Hello"


async def test_the_items_of_a_response_that_begins_anew_follow_though_it_finishes_none() -> None:
    async with begun_anew([*BEFORE_END, ITEM_DONE], HELLO) as run:
        assert [item.id async for item in run.items()] == ["msg_1", "msg_1"]
    async with begun_anew([CREATED, CALL_DONE], [CREATED, CALLED]) as run:
        assert [call.call_id async for call in run.tool_calls()] == ["call_1", "call_1"]


@pytest.mark.parametrize("view", [StreamRun.text_stream, StreamRun.items, StreamRun.tool_calls])
async def test_a_view_ends_as_its_run_does(view: Any) -> None:
    async with StreamRun(ScriptedSource(*BEFORE_END)) as run:
        with pytest.raises(ResponseDisconnectedError):
            async for _ in view(run):
                pass


async def test_views_and_handlers_share_a_run() -> None:
    async def joined(run: StreamRun) -> str:
        return "".join([text async for text in run.text_stream()])

    async with (
        LocalServer() as server,
        Client(base_url=server.url) as client,
        client.stream(model="m", input="hi") as run,
    ):
        types: list[str] = []
        run.on.any(lambda event: types.append(event.type))
        async with asyncio.TaskGroup() as tasks:
            texts = [tasks.create_task(joined(run)) for _ in range(3)]
            items = tasks.create_task(anext(run.items()))
    assert {task.result() for task in texts} == {run.text} != {""}
    assert isinstance(items.result(), Message)
    assert types[-1] == "response.completed"


async def test_a_view_that_is_closed_gives_nothing_more() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        texts = run.text_stream()
        assert await anext(texts) == "Hel"
        await texts.aclose()
        assert [text async for text in texts] == []
