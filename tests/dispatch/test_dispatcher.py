"""Which functions a dispatcher calls for what, in which order, and what becomes of their exceptions."""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Closed,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    HandlerFailed,
    Incomplete,
    Opened,
    Outcome,
    Response,
    Run,
    StreamHandler,
    StreamRun,
    UsageError,
    on,
)
from streamkit.dispatch import combine
from streamkit.errors import ConnectionLost, ServerError
from streamkit.events import (
    EVENTS,
    DeltaEvent,
    DoneSentinel,
    Event,
    InvalidEvent,
    ItemEvent,
    OutputTextDelta,
    PartEvent,
    RefusalDelta,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    TerminalEvent,
    ToolProgressEvent,
    UnknownEvent,
)
from streamkit.outcome import Delivery, Notice
from tests.dispatch.support import StillRun, send
from tests.scripted import HELLO, ScriptedSource

pytestmark = pytest.mark.anyio

DELTA = OutputTextDelta(delta="a")
REFUSAL = RefusalDelta(delta="b")
RESPONSE = Response()
CREATED = ResponseCreated(response=RESPONSE)
COMPLETED = Completed(response=RESPONSE)
FAILED = Failed(response=RESPONSE, error=ServerError("oh"))
DISCONNECTED = Disconnected(response=RESPONSE, error=ConnectionLost("gone"))


class Calls(list[Any]):
    """Makes handlers that write down their name, and the last thing they got."""

    def handler(self, name: str) -> Callable[[object], None]:
        def handle(subject: object) -> None:
            self.append(name)
            self.last = subject

        return handle


@pytest.fixture
def calls() -> Calls:
    return Calls()


# Routing


async def test_handlers_of_an_event_are_called_in_order_of_registration(dispatcher: Dispatcher, calls: Calls) -> None:
    included = Dispatcher()
    dispatcher.on("response.output_text.delta")(calls.handler("name"))
    dispatcher.on(Event)(calls.handler("everything"))
    dispatcher.include(included)
    dispatcher.on(OutputTextDelta)(calls.handler("class"))
    dispatcher.on(ItemEvent, RefusalDelta)(calls.handler("family or class"))
    dispatcher.on("response.refusal.delta")(calls.handler("another name"))
    included.on(DeltaEvent)(calls.handler("included"))
    await send(dispatcher, DELTA)
    assert calls == ["name", "everything", "included", "class", "family or class"]
    assert calls.last is DELTA


async def test_an_event_nobody_asked_for_calls_nothing(dispatcher: Dispatcher, calls: Calls) -> None:
    dispatcher.on("response.refusal.delta")(calls.handler("refusal"))
    await send(dispatcher, DELTA, CREATED, COMPLETED, Closed(outcome=COMPLETED))
    assert calls == []


async def test_event_is_every_event_but_no_notice_and_no_outcome(dispatcher: Dispatcher) -> None:
    seen: list[Event] = []
    dispatcher.on(Event)(seen.append)
    events = [model.model_construct() for model in EVENTS.values()]
    events += [
        UnknownEvent(type="vendor:thing", data={}),
        InvalidEvent(type="", raw=b"{", error="no JSON"),
        DoneSentinel(),
    ]
    await send(dispatcher, Opened(url="", headers={}), *events, COMPLETED, Closed(outcome=COMPLETED))
    assert seen == events


@pytest.mark.parametrize("model", [*get_args(Outcome), *get_args(Notice)])
async def test_outcomes_and_notices_are_routed_by_their_class(
    dispatcher: Dispatcher, calls: Calls, model: type[Any]
) -> None:
    dispatcher.on(model)(calls.handler(model.__name__))
    fields = dict.fromkeys(model.__dataclass_fields__)
    await send(dispatcher, DELTA, model(**fields))
    assert calls == [model.__name__]


async def test_several_selectors_that_fit_one_event_call_once(dispatcher: Dispatcher, calls: Calls) -> None:
    dispatcher.on("response.output_text.delta", OutputTextDelta, Event)(calls.handler("once"))
    await send(dispatcher, DELTA)
    assert calls == ["once"]


async def test_a_function_registered_twice_is_called_twice(dispatcher: Dispatcher, calls: Calls) -> None:
    handler = calls.handler("again")
    dispatcher.on(Event)(handler)
    dispatcher.on("response.output_text.delta")(handler)
    await send(dispatcher, DELTA, REFUSAL)
    assert calls == ["again"] * 3


async def test_each_handler_is_awaited_before_the_next(dispatcher: Dispatcher, calls: Calls) -> None:
    @dispatcher.on(Event)
    async def slow(event: Event) -> None:
        calls.append("slow begins")
        for _ in range(3):
            await asyncio.sleep(0)
        calls.append("slow ends")

    dispatcher.on(Event)(calls.handler("next"))
    await send(dispatcher, DELTA, REFUSAL)
    assert calls == ["slow begins", "slow ends", "next"] * 2


async def test_what_a_handler_returns_stops_nothing(dispatcher: Dispatcher, calls: Calls) -> None:
    for value in (False, True, "text", StopIteration):
        dispatcher.on(Event)(lambda event, value=value: value)
    dispatcher.on(Event)(calls.handler("last"))
    await send(dispatcher, DELTA)
    assert calls == ["last"]


@pytest.mark.parametrize(
    ("hook", "subject", "argument"),
    [
        ("on_created", CREATED, RESPONSE),
        ("on_completed", COMPLETED, RESPONSE),
        ("on_incomplete", Incomplete(response=RESPONSE, reason="max_output_tokens"), RESPONSE),
        ("on_failed", FAILED, FAILED),
        ("on_failed", DISCONNECTED, DISCONNECTED),
        ("on_close", Closed(outcome=FAILED), FAILED),
    ],
)
async def test_a_hook_is_given_what_it_is_about(
    dispatcher: Dispatcher, hook: str, subject: Delivery, argument: object
) -> None:
    run = StillRun()
    given: list[object] = []
    register = getattr(dispatcher, hook)

    @register
    async def alone(value: object) -> None:
        given.append(value)

    @register
    def with_run(value: object, run: Run) -> None:
        given.extend((value, run))

    await send(dispatcher, DELTA, subject, run=run)
    assert given == [argument, argument, run]


FAMILIES = [Event, ItemEvent, PartEvent, DeltaEvent, ResponseEvent, TerminalEvent, ToolProgressEvent]
SELECTORS = st.sampled_from([*EVENTS, *EVENTS.values(), *FAMILIES, UnknownEvent, InvalidEvent, Completed, Closed])
HANDLERS = st.lists(st.tuples(st.lists(SELECTORS, min_size=1, max_size=4), st.booleans()), max_size=8)
SUBJECTS = st.lists(
    st.sampled_from([model.model_construct() for model in EVENTS.values()])
    | st.sampled_from([UnknownEvent(type="x", data={}), COMPLETED, Closed(outcome=COMPLETED), FAILED]),
    max_size=12,
)


def fits(selector: str | type, subject: object) -> bool:
    if isinstance(selector, str):
        return isinstance(subject, Event) and subject.type == selector
    return isinstance(subject, selector)


@given(HANDLERS, SUBJECTS)
def test_the_calls_are_those_of_a_search_through_all_handlers(
    handlers: list[tuple[list[str | type], bool]], subjects: list[Delivery]
) -> None:
    dispatcher, calls = Dispatcher(), []
    for number, (selectors, nested) in enumerate(handlers):
        target = Dispatcher() if nested else dispatcher
        if nested:
            dispatcher.include(target)
        register: Any = target.on
        register(*selectors)(lambda subject, number=number: calls.append((number, subject)))
    asyncio.run(send(dispatcher, *subjects))
    assert calls == [
        (number, subject)
        for subject in subjects
        for number, (selectors, _) in enumerate(handlers)
        if any(fits(selector, subject) for selector in selectors)
    ]


# include


async def test_an_included_dispatcher_stays_live(dispatcher: Dispatcher, calls: Calls) -> None:
    inner, innermost = Dispatcher(), Dispatcher()
    dispatcher.include(inner)
    inner.include(innermost)
    await send(dispatcher, DELTA)
    innermost.on(Event)(late := calls.handler("late"))
    await send(dispatcher, DELTA)
    innermost.off(late)
    await send(dispatcher, DELTA)
    assert calls == ["late"]


async def test_a_dispatcher_included_twice_calls_twice(dispatcher: Dispatcher, calls: Calls) -> None:
    inner = Dispatcher()
    inner.on(Event)(calls.handler("inner"))
    dispatcher.include(inner, inner)
    await send(dispatcher, DELTA)
    assert calls == ["inner", "inner"]


async def test_marked_functions_and_methods_are_included_for_each_mark(dispatcher: Dispatcher, calls: Calls) -> None:
    @on("response.output_text.delta")
    @on("response.refusal.delta")
    def function(event: Event) -> None:
        calls.append(event.type)

    class Service:
        @on("response.created")
        async def method(self, event: ResponseCreated) -> None:
            calls.append(event.type)

    dispatcher.include(function, Service().method)
    await send(dispatcher, DELTA, REFUSAL, CREATED)
    assert calls == [DELTA.type, REFUSAL.type, CREATED.type]


class Audit(StreamHandler):
    @on(Event)
    def everything(self, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda event: None, r"cannot include <function .*no function marked with @on\(...\)$"),
        (Audit, r"cannot include <class .*Audit'>: .*; pass an instance of it$"),
        ("response.created", "cannot include 'response.created'"),
        (None, "cannot include None"),
        (Audit.everything, "is a method: mark it"),
    ],
)
def test_what_cannot_be_included_is_a_usage_error(dispatcher: Dispatcher, part: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dispatcher.include(part)
    with pytest.raises(UsageError, match=message):
        combine((part,))


def test_dispatchers_cannot_include_each_other(dispatcher: Dispatcher) -> None:
    middle, inner = Dispatcher(), Dispatcher()
    dispatcher.include(middle)
    middle.include(inner)
    for ancestor in (dispatcher, middle, inner):
        with pytest.raises(UsageError, match="cannot include itself, directly or through another"):
            inner.include(ancestor)


async def test_a_single_dispatcher_is_used_as_it_is_and_several_parts_are_combined(
    dispatcher: Dispatcher, calls: Calls
) -> None:
    assert combine((dispatcher,)) is dispatcher
    dispatcher.on(Event)(calls.handler("dispatcher"))
    function = on(Event)(calls.handler("function"))
    await send(combine((function, dispatcher)), DELTA)
    assert calls == ["function", "dispatcher"]
    await send(combine(()), DELTA)


# off and once


async def test_off_removes_a_function_from_everything_it_is_registered_for(
    dispatcher: Dispatcher, calls: Calls
) -> None:
    gone = calls.handler("gone")
    for register in (dispatcher.on(Event), dispatcher.once(Event), dispatcher.on.raw("x"), dispatcher.on_created):
        register(gone)
    dispatcher.on(Event)(calls.handler("kept"))
    dispatcher.off(gone)
    await send(dispatcher, DELTA, CREATED, UnknownEvent(type="x", data={}))
    assert calls == ["kept"] * 3


async def test_off_removes_a_method_of_one_object_only(dispatcher: Dispatcher, calls: Calls) -> None:
    class Named(StreamHandler):
        def __init__(self, name: str) -> None:
            self.name = name

        @on(Event)
        def everything(self, event: Event) -> None:
            calls.append(self.name)

    first, second = Named("first"), Named("second")
    dispatcher.include(first, second)
    dispatcher.off(first.everything)
    await send(dispatcher, DELTA)
    assert calls == ["second"]


def test_off_for_a_function_that_is_not_registered_is_a_usage_error(dispatcher: Dispatcher) -> None:
    included = Dispatcher()
    included.on(Event)(print)
    dispatcher.include(included)
    with pytest.raises(UsageError, match="<built-in function print> is not registered in this dispatcher"):
        dispatcher.off(print)


async def test_once_is_the_first_event_of_each_run_also_of_concurrent_ones(
    dispatcher: Dispatcher, calls: Calls
) -> None:
    @dispatcher.once("response.output_text.delta", "response.refusal.delta")
    async def first(event: OutputTextDelta | RefusalDelta, run: Run) -> None:
        await asyncio.sleep(0)
        calls.append((event.delta, run))

    one, two = StillRun(), StillRun()
    await asyncio.gather(send(dispatcher, CREATED, DELTA, REFUSAL, run=one), send(dispatcher, REFUSAL, DELTA, run=two))
    assert sorted(calls, key=lambda call: str(call[0])) == [("a", one), ("b", two)]


async def test_a_run_uses_the_handlers_there_were_when_it_began(dispatcher: Dispatcher, calls: Calls) -> None:
    @dispatcher.on("response.created")
    def created(event: ResponseCreated) -> None:
        dispatcher.on("response.output_text.delta")(lambda event: calls.append(event.delta))
        dispatcher.off(created)

    for _ in range(2):
        calls.append("run")
        async with StreamRun(ScriptedSource(*HELLO)) as run:
            await run.dispatch(dispatcher)
    assert calls == ["run", "run", "Hel", "lo"]


# Exceptions


class Oops(Exception):
    pass


def raising(error: BaseException) -> Callable[[object], None]:
    def fail(subject: object) -> None:
        raise error

    return fail


async def test_an_exception_reaches_the_caller_unchanged_and_stops_the_event(
    dispatcher: Dispatcher, calls: Calls
) -> None:
    error = Oops("no")
    dispatcher.on(Event)(calls.handler("before"))
    dispatcher.on("response.output_text.delta")(raising(error))
    dispatcher.on(Event)(calls.handler("after"))
    with pytest.raises(Oops) as caught:
        await send(dispatcher, CREATED, DELTA, CREATED)
    assert caught.value is error
    assert caught.value.args == ("no",)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert calls == ["before", "after", "before"]


@pytest.mark.parametrize(
    ("subject", "described"),
    [
        (OutputTextDelta(delta="a", sequence_number=7), "response.output_text.delta (sequence_number 7)"),
        (OutputTextDelta(delta="a"), "response.output_text.delta"),
        (UnknownEvent(type="vendor:thing", data={}), "vendor:thing"),
        (COMPLETED, "Completed"),
        (Closed(outcome=COMPLETED), "Closed"),
    ],
)
async def test_a_note_says_which_handler_raised_for_what(
    dispatcher: Dispatcher, subject: Delivery, described: str
) -> None:
    async def fail(subject: object, run: Run) -> None:
        raise Oops

    dispatcher.on(Event, Completed, Closed)(fail)
    with pytest.raises(Oops) as caught:
        await send(dispatcher, subject)
    assert caught.value.__notes__ == [f"raised by the handler {__name__}.{fail.__qualname__} for {described}"]


async def test_on_error_is_told_what_failed_and_may_let_the_run_go_on(dispatcher: Dispatcher, calls: Calls) -> None:
    error, run = Oops(), StillRun()
    fail = raising(error)
    dispatcher.on("response.output_text.delta")(fail)
    dispatcher.on(Event)(calls.handler("after"))

    @dispatcher.on_error
    async def swallow(failure: HandlerFailed, run: Run) -> bool:
        calls.append((failure, run))
        return True

    await send(dispatcher, DELTA, CREATED, run=run)
    failure = HandlerFailed(handler=f"{__name__}.{fail.__qualname__}", event=DELTA, error=error)
    assert calls == [(failure, run), "after", "after"]


@pytest.mark.parametrize("answer", [None, False, 1, "yes"])
async def test_on_error_that_does_not_return_true_lets_the_exception_through(
    dispatcher: Dispatcher, answer: Any
) -> None:
    dispatcher.on(Event)(raising(Oops()))
    dispatcher.on_error(lambda failure: answer)
    with pytest.raises(Oops):
        await send(dispatcher, DELTA)


@pytest.mark.parametrize("answers", [(True, False), (False, True)])
async def test_all_on_error_handlers_are_asked_and_one_yes_is_enough(
    dispatcher: Dispatcher, calls: Calls, answers: tuple[bool, bool]
) -> None:
    dispatcher.on(Event)(raising(Oops()))
    for answer in answers:
        dispatcher.on_error(lambda failure, answer=answer: calls.append(answer) or answer)
    await send(dispatcher, DELTA)
    assert calls == [*answers]


async def test_on_error_may_raise_another_exception_and_is_not_asked_about_that(
    dispatcher: Dispatcher, calls: Calls
) -> None:
    original = Oops()
    dispatcher.on(Event)(raising(original))

    @dispatcher.on_error
    def translate(failure: HandlerFailed) -> None:
        calls.append(failure.error)
        raise ValueError("oops, in other words") from failure.error

    with pytest.raises(ValueError, match="in other words") as caught:
        await send(dispatcher, DELTA)
    assert caught.value.__cause__ is original
    assert calls == [original]


async def test_on_error_may_raise_the_exception_itself(dispatcher: Dispatcher) -> None:
    original = Oops()
    dispatcher.on(Event)(raising(original))

    @dispatcher.on_error
    def again(failure: HandlerFailed) -> None:
        raise failure.error

    with pytest.raises(Oops) as caught:
        await send(dispatcher, DELTA)
    assert caught.value is original
    assert len(original.__notes__) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()], ids=repr)
async def test_what_is_no_mere_exception_passes_untouched(
    dispatcher: Dispatcher, calls: Calls, error: BaseException
) -> None:
    dispatcher.on(Event)(raising(error))
    dispatcher.on_error(lambda failure: calls.append(failure) or True)
    with pytest.raises(type(error)) as caught:
        await send(dispatcher, DELTA)
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert calls == []


async def test_a_failing_handler_ends_the_run(dispatcher: Dispatcher, calls: Calls) -> None:
    error = Oops()
    dispatcher.on("response.created")(raising(error))
    dispatcher.on(Event)(calls.handler("event"))
    dispatcher.on_close(calls.append)
    source = ScriptedSource(*HELLO)
    async with StreamRun(source) as run:
        with pytest.raises(Oops):
            await run.dispatch(dispatcher)
        outcome = await run.outcome()
    assert getattr(outcome, "cause", None) is error
    assert calls == [outcome]
    assert source.closed_count == 1


@pytest.mark.parametrize("misused", [lambda d: d.on_completed(), lambda d: d.on.any(lane=1), lambda d: d.on_error()])
def test_a_decorator_without_a_function_says_how_it_is_written(dispatcher: Dispatcher, misused: Any) -> None:
    with pytest.raises(UsageError, match=r"is written without \(\)"):
        misused(dispatcher)


async def test_a_run_keeps_its_handlers_when_others_are_added_to_it_alone(dispatcher: Dispatcher) -> None:
    late: list[object] = []
    async with StreamRun(ScriptedSource(*HELLO)) as run:

        @dispatcher.on("response.created")
        def register(_: Event) -> None:
            dispatcher.on.any(late.append)
            run.on("response.completed")(lambda _: None)

        await run.dispatch(dispatcher)
    assert late == []


async def test_a_disabled_method_stays_so_when_handlers_are_added_to_the_run_alone() -> None:
    called: list[object] = []

    class Fragile(StreamHandler):
        @on("response.output_text.delta", on_error="disable")
        def fail(self, event: OutputTextDelta) -> None:
            called.append(event)
            raise Oops

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.on("response.output_text.delta")(lambda _: run.on("response.completed")(called.append))
        await run.dispatch(Fragile())
    assert [type(event) for event in called] == [OutputTextDelta, ResponseCompleted, ResponseCompleted]
