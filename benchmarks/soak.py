"""Many streams for a long time, with everything going wrong that can: ``python -m benchmarks.soak``.

Each run is checked by itself; when all are over, whatever is left of them is counted. It needs Linux, which tells a
process what it holds.
"""

import argparse
import asyncio
import gc
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from benchmarks.soak_plans import Plan, draw, only_open
from benchmarks.soak_report import NOTHING, Holdings, Tally, as_markdown, write
from benchmarks.soak_witness import Witness
from streamkit import Client, Completed, Outcome, Retry, StreamRun
from streamkit.testing import play

ROOT = Path(__file__).resolve().parent.parent
RETRY = Retry(attempts=6, first_delay=0.05, longest_delay=0.5, poll_every=0.2)
RUN_SECONDS = 60.0
"""A run that takes longer hangs: with these clocks and retries none can."""
SETTLING_SECONDS = 10.0
MEMORY_SAMPLE_SECONDS = 1.0
LOOP_CHECK_SECONDS = 0.05


async def soak(*, seconds: float, streams: int, seed: int = 0) -> Tally:
    """Keep so many streams going for so many seconds, then wait for the last ones, and return what was counted."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: tally.violations.append(f"in the event loop: {context}"))
    with _server() as (url, process):
        before = _holdings(process)
        async with _session(tally) as session:
            client = Client(base_url=url, retry=RETRY, session=session)
            async with client, _sampling(tally), asyncio.TaskGroup() as tasks:
                for number in range(streams):
                    random = Random(seed * streams + number)
                    tasks.create_task(_keep_going(client, tally, random, loop.time() + seconds))
        tally.left = await _left_beyond(before, process)
        tally.memory_at_end = _resident_mebibytes()
    return tally


@asynccontextmanager
async def _session(tally: Tally) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session; when the runs are over, none of its connections may be in use: closing it would hide that."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session
        if connector._acquired:
            tally.violations.append(f"{len(connector._acquired)} connections are in use when all runs are over")


async def _keep_going(client: Client, tally: Tally, random: Random, until: float) -> None:
    clock = asyncio.get_running_loop().time
    # Not all at once: the streams of a service do not begin in step either.
    await asyncio.sleep(random.random())
    goes_on = True
    while goes_on:
        await _run(client, tally, draw(random))
        goes_on = clock() < until


async def _run(client: Client, tally: Tally, plan: Plan) -> None:
    witness = Witness()
    run = client.stream(
        timeouts=plan.trouble.timeouts, restart=plan.trouble.restart, extra_headers=plan.headers, **plan.request
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            await plan.drive(run, witness, plan.seconds)
        outcome = await run.outcome()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        tally.violations.append(f"{plan}: {error!r} was raised")
        return
    _count(tally, plan, run, witness, outcome)
    after = f"after {time.perf_counter() - tally.began:.1f} s"
    tally.violations += [f"{after}, {plan}: {problem}" for problem in _problems(plan, run, witness, outcome)]


def _count(tally: Tally, plan: Plan, run: StreamRun, witness: Witness, outcome: Outcome) -> None:
    stats = run.stats
    tally.outcomes[type(outcome).__name__] += 1
    tally.drives[plan.drive.__name__.replace("_", " ")] += 1
    tally.faults.update(fault.clause().name for fault in plan.faults)
    tally.counts.update(
        {
            "runs": 1,
            "in the background": int(plan.background),
            "events": stats.events,
            "retries": witness.retries,
            "reconnects": witness.reconnects,
            "polls": stats.polls,
            "restarts": stats.restarts,
        }
    )


def _problems(plan: Plan, run: StreamRun, witness: Witness, outcome: Outcome) -> Iterator[str]:
    if type(outcome) not in plan.outcomes:
        yield f"ended with {type(outcome).__name__}, {run.stats}, {getattr(outcome, 'error', None)!r}"
    if plan.heard:
        yield from _problems_of_ending(witness, outcome)
    if isinstance(outcome, Completed) and plan.drive is not only_open:
        yield from _problems_of_content(plan, witness, outcome)


def _problems_of_ending(witness: Witness, outcome: Outcome) -> Iterator[str]:
    if len(witness.outcomes) != 1 or witness.outcomes[0] is not outcome:
        told = [type(told).__name__ for told in witness.outcomes]
        yield f"handlers were told {told}, the outcome is {type(outcome).__name__}"
    if len(witness.closings) != 1 or witness.closings[0].outcome is not outcome:
        yield f"closed {len(witness.closings)} times"
    if witness.late:
        yield f"{witness.late} deliveries came after it was closed"


def _problems_of_content(plan: Plan, witness: Witness, outcome: Completed) -> Iterator[str]:
    whole = outcome.response.output_text
    if plan.trouble.scenario == "long-text" and whole != _text(plan.tokens):
        yield "the response is not what the server had to say"
    if plan.trouble.intact and "".join(witness.pieces) != whole:
        yield "text arrived twice, incompletely or out of order"
    if plan.background and witness.numbers != list(range(len(witness.numbers))):
        yield f"sequence numbers {witness.numbers}"


@cache
def _text(tokens: int) -> str:
    events: list[dict[str, Any]] = play("long-text", {"metadata": {"tokens": str(tokens)}})
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@asynccontextmanager
async def _sampling(tally: Tally) -> AsyncGenerator[None]:
    """Take samples of the memory meanwhile, and measure what the processor and the loop had to bear."""
    began, worked = time.perf_counter(), time.process_time()
    sampling = asyncio.create_task(_sample(tally))
    try:
        yield
    finally:
        sampling.cancel()
    tally.cpu_share = (time.process_time() - worked) / (time.perf_counter() - began)


async def _sample(tally: Tally) -> None:
    clock = asyncio.get_running_loop().time
    began = due = clock()
    while True:
        due += LOOP_CHECK_SECONDS
        await asyncio.sleep(due - clock())
        tally.longest_delay = max(tally.longest_delay, clock() - due)
        due = max(due, clock())
        if due - began >= len(tally.memory) * MEMORY_SAMPLE_SECONDS:
            tally.memory.append(_resident_mebibytes())


@contextmanager
def _server() -> Generator[tuple[str, int]]:
    """Run the server process; give its base URL and its number."""
    command = [sys.executable, "-m", "benchmarks.soak_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()


async def _left_beyond(before: Holdings, server: int) -> Holdings:
    """Return what is held more than before, once it is nothing, or else after some seconds."""
    gc.collect()
    deadline = time.monotonic() + SETTLING_SECONDS
    while (left := _holdings(server).beyond(before)) != NOTHING and time.monotonic() < deadline:
        await _rest()
    return left


async def _rest() -> None:
    # No event tells that the other process has closed its side.
    await asyncio.sleep(0.05)


def _holdings(server: int) -> Holdings:
    own = _open_files("self")
    return Holdings(
        tasks=len(asyncio.all_tasks()),
        sockets=sum(name.startswith("socket:") for name in own),
        descriptors=len(own),
        server_descriptors=len(_open_files(str(server))),
    )


def _open_files(process: str) -> list[str]:
    """Return what each descriptor of a process stands for."""
    return [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir() if entry.is_symlink()]


def _resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Soak, print the section, write it if asked to, and exit with 1 if anything was wrong."""
    options = _options()
    # Runs that fail are what this is about; what streamkit has to say of them is not for the terminal.
    logging.getLogger("streamkit").addHandler(logging.NullHandler())
    seconds = options.minutes * 60
    tally = asyncio.run(soak(seconds=seconds, streams=options.streams, seed=options.seed))
    sizes = f"--minutes {options.minutes:g} --streams {options.streams} --seed {options.seed}"
    command = f"python -m benchmarks.soak {sizes}"
    section = as_markdown(tally, seconds=seconds, streams=options.streams, command=command)
    print(section)
    if options.write:
        write(options.write, section)
    sys.exit(not tally.passed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.soak", description="Stream for long, with random faults.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long new streams are begun")
    parser.add_argument("--streams", type=int, default=200, help="how many are open at once")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other faults")
    parser.add_argument("--write", type=Path, metavar="FILE", help="a page whose section to renew")
    return parser.parse_args()


if __name__ == "__main__":
    main()
