"""Clocks in a loop that something keeps busy: bytes that had arrived meanwhile are no silence."""

import asyncio
import socket
import time

import pytest

from streamkit.clocks import Clocks, Timeouts
from streamkit.errors import ClockExpired
from streamkit.watchdog import Watchdog

pytestmark = pytest.mark.anyio

IDLE_SECONDS = 0.05


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def new_watchdog() -> Watchdog:
    return Watchdog(Clocks(Timeouts(idle=IDLE_SECONDS), asyncio.get_running_loop().time()))


@pytest.mark.parametrize("arrival", [b"x", b""], ids=["bytes", "the end"])
async def test_what_arrived_while_the_loop_was_busy_is_no_silence(arrival: bytes) -> None:
    here, there = socket.socketpair()
    loop, watchdog = asyncio.get_running_loop(), new_watchdog()

    def keep_busy() -> None:
        there.send(arrival)
        there.shutdown(socket.SHUT_WR)
        time.sleep(2 * IDLE_SECONDS)

    with here, there:
        here.setblocking(False)
        loop.call_soon(keep_busy)
        assert await watchdog.wait_for(lambda: loop.sock_recv(here, 1)) == arrival
    watchdog.close()


async def test_silence_in_a_busy_loop_is_silence() -> None:
    here, there = socket.socketpair()
    loop, watchdog = asyncio.get_running_loop(), new_watchdog()
    with here, there:
        here.setblocking(False)
        loop.call_soon(time.sleep, 2 * IDLE_SECONDS)
        with pytest.raises(ClockExpired, match="no byte within"):
            await watchdog.wait_for(lambda: loop.sock_recv(here, 1))
