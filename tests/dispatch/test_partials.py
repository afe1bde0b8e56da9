"""``on_partial``: handlers of an answer as it grows, and of its elements."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from streamkit import Dispatcher, Lane, Run, UsageError
from streamkit.partial_model import PartialModel
from tests.answer.support import created, delta, streamed
from tests.dispatch.support import StillRun, send

pytestmark = pytest.mark.anyio


class Step(BaseModel):
    title: str


class Recipe(BaseModel):
    steps: list[Step]


TEXT = json.dumps({"steps": [{"title": "cut"}, {"title": "cook"}]})
STEPS = [Step(title="cut"), Step(title="cook")]


async def test_a_handler_is_called_with_each_element_and_may_have_the_run() -> None:
    dispatcher, calls, run = Dispatcher(), list[object](), StillRun()

    @dispatcher.on_partial(Recipe, path="steps[*]")
    def plain(step: Step) -> None:
        calls.append(step)

    @dispatcher.on_partial(Recipe, path="steps[*]")
    async def with_run(step: Step, its_run: Run) -> None:
        calls.append((step, its_run is run))

    # One delta may finish several.
    await send(dispatcher, *streamed(TEXT), run=run)
    assert calls == [*STEPS, (STEPS[0], True), (STEPS[1], True)]
    assert plain(STEPS[0]) is None


async def test_a_handler_without_a_path_is_called_with_what_has_come() -> None:
    dispatcher, titles = Dispatcher(), list[object]()

    @dispatcher.on_partial(Recipe)
    async def show(partial: PartialModel) -> None:
        steps = partial.steps
        titles.append(None if steps is None else [getattr(step, "title", None) for step in steps])  # type: ignore[attr-defined]

    await send(dispatcher, *(delta(piece) for piece in ("{", '"steps": [', '{"title": "c', "ut", '"}]}')))
    assert titles == [None, [], ["c"], ["cut"]]


async def test_each_run_is_followed_by_itself() -> None:
    dispatcher, calls, runs = Dispatcher(), list[tuple[object, object]](), [StillRun(), StillRun()]

    @dispatcher.on_partial(Recipe, path="steps[*]")
    def keep(step: Step, run: Run) -> None:
        calls.append((step, run))

    for event in [created(), *(delta(character) for character in TEXT)]:
        for run in runs:
            await send(dispatcher, event, run=run)
    assert calls == [(step, run) for step in STEPS for run in runs]


async def test_a_handler_may_have_a_lane() -> None:
    dispatcher, calls = Dispatcher(), list[object]()
    dispatcher.on_partial(Recipe, path="steps[*]", lane=Lane(max_events=2, when_full="merge"))(calls.append)
    await send(dispatcher, *streamed(TEXT, range(len(TEXT))))
    assert calls == STEPS


async def test_a_handler_may_run_in_a_thread() -> None:
    dispatcher, threads = Dispatcher(), list[object]()

    @dispatcher.on_partial(Recipe, path="steps[*]", thread=True)
    def keep(step: Step) -> None:
        threads.append(threading.current_thread())

    await send(dispatcher, *streamed(TEXT))
    assert len(threads) == len(STEPS)
    assert threading.current_thread() not in threads


async def test_what_a_handler_raises_goes_the_way_of_all_handlers() -> None:
    dispatcher, calls = Dispatcher(), list[object]()

    @dispatcher.on_partial(Recipe, path="steps[*]", on_error="log")
    def fail(step: Step) -> None:
        calls.append(step)
        raise ValueError(step.title)

    await send(dispatcher, *(delta(character) for character in TEXT))
    assert calls == STEPS
    strict = Dispatcher()
    strict.on_partial(Recipe, path="steps[*]")(fail)
    with pytest.raises(ValueError, match="cut"):
        await send(strict, *streamed(TEXT))


async def test_a_handler_can_be_taken_off() -> None:
    dispatcher, calls = Dispatcher(), list[object]()
    keep = dispatcher.on_partial(Recipe, path="steps[*]")(calls.append)
    dispatcher.off(keep)
    await send(dispatcher, *streamed(TEXT))
    assert calls == []


WRONG: dict[str, Callable[[Dispatcher], object]] = {
    "has nothing at": lambda dispatcher: dispatcher.on_partial(Recipe, path="stages[*]"),
    "is no path": lambda dispatcher: dispatcher.on_partial(Recipe, path="steps["),
    "has no option 'where'": lambda dispatcher: dispatcher.on_partial(Recipe, **_options(where=print)),
    "lane must be a Lane": lambda dispatcher: dispatcher.on_partial(Recipe, **_options(lane=1)),
    "all deltas, and this lane": lambda d: d.on_partial(Recipe, **_options(lane=Lane(when_full="drop"))),
    "additionalProperties": lambda dispatcher: dispatcher.on_partial(dict[str, int]),
    "must take": lambda dispatcher: dispatcher.on_partial(Recipe, path="steps")(_options),
}


def _options(**options: Any) -> Any:
    return options


@pytest.mark.parametrize("message", WRONG)
def test_what_makes_no_sense_is_refused_at_once(message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WRONG[message](Dispatcher())


def test_explain_tells_what_a_handler_is_for() -> None:
    dispatcher = Dispatcher()
    dispatcher.on_partial(Recipe, path="steps[*]")(print)
    dispatcher.on_partial(Recipe)(print)
    text = str(dispatcher.explain())
    assert "path='steps[*]'" in text
    assert "partial Recipe" in text
