"""Waiting for a step or a call: none is lost, and a step goes on after a call."""

import asyncio

import pytest

from streamkit.alternation import Alternation

pytestmark = pytest.mark.anyio


async def test_a_call_ends_the_wait_and_the_step_goes_on() -> None:
    alternation, begun, go_on = Alternation(), 0, asyncio.Event()

    async def step() -> None:
        nonlocal begun
        begun += 1
        await go_on.wait()

    asyncio.get_running_loop().call_soon(alternation.call)
    await alternation.step_or_call(step)
    assert alternation.is_stepping
    go_on.set()
    await alternation.step_or_call(step)
    assert (alternation.is_stepping, begun) == (False, 1)


async def test_a_call_that_came_before_is_not_lost() -> None:
    alternation = Alternation()
    alternation.call()
    await alternation.called()
    alternation.call()
    await alternation.step_or_call(asyncio.Event().wait)
    assert alternation.is_stepping
    await alternation.stop()
    assert not alternation.is_stepping


async def test_what_a_step_raises_is_raised_where_it_is_waited_for() -> None:
    async def step() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Alternation().step_or_call(step)


async def test_a_step_that_failed_unseen_is_given_up_quietly() -> None:
    alternation, failed = Alternation(), asyncio.Event()

    async def step() -> None:
        failed.set()
        raise ValueError

    alternation.call()
    await alternation.step_or_call(step)
    await failed.wait()
    await alternation.stop()


async def test_a_step_that_is_done_ends_only_one_wait_for_a_call() -> None:
    """Whoever waits for a call again would else never wait, and keep the loop from bringing that call."""
    alternation, go_on = Alternation(), asyncio.Event()
    alternation.call()
    await alternation.step_or_call(go_on.wait)
    go_on.set()
    await alternation.called()
    assert not alternation.is_stepping
    waiting = asyncio.create_task(alternation.called())
    await asyncio.sleep(0)
    assert not waiting.done()
    alternation.call()
    await waiting
