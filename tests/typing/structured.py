"""What mypy and pyright infer for structured output, checked by them and never run."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict, TypeForm

from streamkit import Client, Dispatcher, InvalidOutput, ParsedResponse, Response, Run, StreamRun
from streamkit.dispatch.on import Decorator
from streamkit.partial_model import PartialModel


class Step(BaseModel):
    title: str


@dataclass
class Point:
    x: int


class Movie(TypedDict):
    title: str


dispatcher = Dispatcher()

assert_type(dispatcher.on_partial(Step), Decorator[PartialModel])


@dispatcher.on_partial(Step)
def grown(partial: PartialModel) -> None:
    assert_type(partial.title, object)


@dispatcher.on_partial(list[Step], path="[*]", on_error="log")
async def finished(step: Step, run: Run) -> None: ...


async def asked(client: Client) -> None:
    response = await client.run(dispatcher, text_format=Step, model="m", input="x")
    assert_type(response, ParsedResponse[Step])
    assert_type(response.parsed, Step | None)
    assert_type(response.partial, PartialModel | None)
    assert_type(response.parse_error, InvalidOutput | None)
    assert_type((await client.run(text_format=list[Step], input="x")).parsed, list[Step] | None)
    assert_type((await client.run(text_format=Point, input="x")).parsed, Point | None)
    maybe: TypeForm[Step | Point] = Step | Point
    assert_type((await client.run(text_format=maybe, input="x")).parsed, Step | Point | None)
    assert_type((await client.run(text_format=Movie, input="x")).parsed, Movie | None)
    assert_type((await client.run(input="x")).parsed, None)
    plain: Response = await client.run(input="x")
    assert_type(plain.id, str | None)


async def driven(client: Client) -> None:
    async with client.stream(text_format=Step, model="m", input="x") as run:
        assert_type(run, StreamRun[SimpleNamespace, ParsedResponse[Step]])
        async for partial in run.partials(Step):
            assert_type(partial, PartialModel)
        assert_type(await run.dispatch(), ParsedResponse[Step])
    assert_type(client.resume("resp_1", text_format=Step), StreamRun[SimpleNamespace, ParsedResponse[Step]])
    assert_type(client.replay("file", text_format=Step), StreamRun[SimpleNamespace, ParsedResponse[Step]])
    _: StreamRun = client.stream(input="x")
