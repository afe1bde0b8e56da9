"""Calls being executed: each id once, whatever is cut off, called again or taken up by another run."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Ledger
from streamkit.items import FunctionCall
from streamkit.outcome import Notice, ToolCalled, ToolReturned
from streamkit.tools.calling import Calling
from streamkit.tools.toolbox import Toolbox, ToolOptions
from tests.dispatch.support import StillRun

pytestmark = pytest.mark.anyio

CALLS = st.builds(
    lambda call_id, kind: FunctionCall(
        call_id=call_id, name="work", arguments=f'{{"call_id":"{call_id}","kind":"{kind}"}}'
    ),
    st.sampled_from("abcd"),
    st.sampled_from(["quick", "patient", "broken", "endless"]),
)


class Workshop:
    """Does work, and counts it."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.running = 0

    async def work(self, call_id: str, kind: str) -> str:
        """Do some work."""
        self.begun[call_id] += 1
        self.running += 1
        try:
            if kind == "patient":
                await asyncio.sleep(0)
            elif kind == "endless":
                await asyncio.Event().wait()
            elif kind == "broken":
                raise ValueError(call_id)
        finally:
            self.running -= 1
        return call_id


async def go_through(rounds: list[list[FunctionCall]], workshop: Workshop, ledger: Ledger, steps: int) -> Ledger:
    """Make the calls of some rounds, a few steps of the loop for each, and break off; return what is known then."""
    run, notices = StillRun(), list[Notice]()
    for call in ledger:
        run.ledger.write(call)
    calling = Calling(
        Toolbox([workshop.work]), ToolOptions(max_parallel=2), run, tell=notices.append, wake=lambda: None
    )
    for calls in rounds:
        for call in calls:
            calling.start(call)
        for _ in range(steps):
            await asyncio.sleep(0)
        if calling.is_busy:
            break
        run.round += 1
    await calling.close()
    assert not calling.is_busy
    begun = [notice.call.call_id for notice in notices if isinstance(notice, ToolCalled)]
    assert len(set(begun)) == len(begun)
    assert {n.call.call_id for n in notices if isinstance(n, ToolReturned)} <= {call.call_id for call in run.ledger}
    return run.ledger


@settings(max_examples=80, deadline=None)
@given(
    runs=st.lists(
        st.tuples(st.lists(st.lists(CALLS, max_size=4), max_size=3), st.integers(0, 6)), min_size=1, max_size=3
    )
)
async def test_no_call_id_is_ever_executed_twice(runs: list[tuple[list[list[FunctionCall]], int]]) -> None:
    workshop, ledger = Workshop(), Ledger()
    for rounds, steps in runs:
        ledger = Ledger.from_json((await go_through(rounds, workshop, ledger, steps)).to_json())
        assert workshop.running == 0
        assert all(call.status != "running" for call in ledger)
    assert all(count == 1 for count in workshop.begun.values())
    assert workshop.begun.keys() == {call.call_id for call in ledger if call.started is not None}


async def test_a_tool_that_does_not_stop_when_it_is_cancelled_counts_as_cancelled() -> None:
    async def stubborn() -> str:
        """Go on whatever happens."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done all the same"

    run = StillRun()
    calling = Calling(Toolbox([stubborn]), ToolOptions(), run, tell=lambda _: None, wake=lambda: None)
    calling.start(FunctionCall(call_id="a", name="stubborn", arguments="{}"))
    for _ in range(3):
        await asyncio.sleep(0)
    await calling.close()
    assert [(call.status, call.output) for call in run.ledger] == [("cancelled", None)]


async def test_text_that_cannot_be_sent_is_mended() -> None:
    def name_of_file() -> str:
        """Return a name that is no UTF-8."""
        return "caf\udce9"

    run, woken = StillRun(), asyncio.Event()
    calling = Calling(Toolbox([name_of_file]), ToolOptions(), run, tell=lambda _: None, wake=woken.set)
    call = FunctionCall(call_id="a", name="name_of_file", arguments="")
    calling.start(call)
    while calling.is_busy:
        await woken.wait()
        woken.clear()
    (answer,) = calling.answers([call])
    assert answer["output"] == "caf?"
    assert Ledger.from_json(run.ledger.to_json()).get("a") == run.ledger.get("a")
