"""Everything that is shown to users runs: the examples, and each Python block of the README and the documentation."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields
from pathlib import Path
from subprocess import STDOUT
from typing import Any

import aiohttp
import anyio
import pytest
from anyio.abc import Process
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream

from streamkit import Limits, Timeouts, __version__
from streamkit.events import EVENTS
from streamkit.testing import LocalServer
from tests.paths import ROOT

EXAMPLES = ROOT / "examples"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SCRIPTS = {
    "decorators.py": (r"\[it thought: ", r"\[response\.web_search_call\.searching, after 0 ", r"\[Completed\]"),
    "base_handler.py": (
        r'get_weather \{"location":"Paris"\}  <- call call_',
        r"2 calls in resp_",
        r"unfinished calls: \[\]",
    ),
    "typed_state.py": (
        r"timing\(preview \[tool='get_weather'\]\)",
        r"ada: Completed, \['function_call'\], \{\"location\":\"Paris\"\}",
        r"grace: Completed, \['reasoning', 'message'\], no call",
    ),
    "chat_server.py": (r"\[finish reason: stop\]", r"\[\d+ tokens\]"),
    "fill_form.py": (r"born: …", r"born: 1815\n", r"\[Form\(name='Ada Lovelace', "),
    "live_tool_calls.py": (
        r"going to Reykjavík",
        r"  - the old pool\n\[round 1: plan_trip runs\]",
        r"\[succeeded: A day in Reykjavík: ",
        r"Take good shoes\.",
    ),
    "many_streams.py": (r"200 of 200 streams completed", r"200 response\.created"),
}
SERVICES = ("aiohttp_service.py", "fastapi_service.py")
WITH_LANES = "fastapi_lanes.py"
AT_ONCE = 4
"""How many examples run at the same time: most of their time they wait for their model."""

Check = Callable[[str], Coroutine[Any, Any, None]]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def python(example: str) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / example)]


async def runs_without_a_key(example: str) -> None:
    done = await anyio.run_process(python(example), env=environment(), check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    for pattern in SCRIPTS[example]:
        assert re.search(pattern, done.stdout.decode())


class Service:
    """An example that serves, while it runs."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._output = BufferedByteReceiveStream(process.stdout)
        self.url = ""

    async def line_with(self, pattern: str) -> re.Match[str]:
        """Wait until it prints a line that matches."""
        while True:
            line = (await self._output.receive_until(b"\n", 65536)).decode()
            if found := re.search(pattern, line):
                return found


@asynccontextmanager
async def serving(example: str, **more: str) -> AsyncIterator[Service]:
    async with await anyio.open_process(python(example), stderr=STDOUT, env=environment(PORT="0", **more)) as process:
        service = Service(process)
        try:
            service.url = (await service.line_with(r"http://127\.0\.0\.1:[1-9]\d*"))[0]
            yield service
        finally:
            process.terminate()
            await process.wait()


async def says_in_one_line_that_the_answer_does_not_fit(example: str) -> None:
    async with LocalServer(scenario="text") as server:
        asked = environment(OPENAI_BASE_URL=server.url)
        done = await anyio.run_process(python(example), env=asked, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"there is no form: the answer does not fit Form: .*\n", done.stderr.decode())


async def asks_for_the_model_that_is_named(example: str) -> None:
    async with LocalServer(scenario="text") as server:
        asked = environment(OPENAI_BASE_URL=server.url, OPENAI_MODEL="scenario:structured-json")
        done = await anyio.run_process(python(example), env=asked, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert re.search(r"^\[Form\(name='", done.stdout.decode(), re.MULTILINE)


async def serves_the_browser_until_either_side_is_gone(example: str) -> None:
    async with AsyncExitStack() as model, aiohttp.ClientSession() as browser:
        server = await model.enter_async_context(LocalServer(scenario="long-text", tokens_per_second=100))
        async with serving(example, OPENAI_BASE_URL=server.url) as service:
            async with browser.get(f"{service.url}/answer", params={"prompt": "Hello"}) as answer:
                assert answer.headers["content-type"] == "text/plain; charset=utf-8"
                pieces = [piece async for piece in answer.content.iter_any()]
            assert b"".join(pieces).startswith(b"A river begins")
            assert len(pieces) > 100
            await service.line_with(r"^resp_\w+: Completed$")
            async with browser.get(f"{service.url}/answer") as answer:
                await answer.content.readany()
                answer.close()
            await service.line_with(r"^resp_\w+: Cancelled$")
            await model.aclose()
            async with browser.get(f"{service.url}/answer") as answer:
                assert answer.status == 502
                assert "The model does not answer." in await answer.text()
            await service.line_with(r"^no answer: cannot connect to http://127")


async def brings_its_own_server(example: str) -> None:
    async with (
        serving(example) as service,
        aiohttp.ClientSession() as browser,
        browser.get(f"{service.url}/answer", params={"prompt": "Hello"}) as answer,
    ):
        assert (await answer.content.readany()).decode().startswith("You")


async def streams_at_the_pace_of_the_browser_and_keeps_all_of_it(example: str) -> None:
    async with (
        LocalServer(scenario="long-text", tokens_per_second=1000) as server,
        serving(example, OPENAI_BASE_URL=server.url) as service,
        aiohttp.ClientSession() as browser,
    ):
        async with browser.get(f"{service.url}/chat", params={"user": "ada"}) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            events = (await answer.text()).split("\n\n")
        texts = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: ")]
        assert "".join(texts).startswith("A river begins")
        assert events[-2:] == ["event: done\ndata:", ""]
        kept = await service.line_with(r"^resp_\w+ of ada: Completed, (\d+) characters in (\d+) rows$")
        assert int(kept[1]) == len("".join(texts))
        assert int(kept[2]) < len(texts)
        async with browser.get(f"{service.url}/chat") as answer:
            await answer.content.readany()
            answer.close()
        await service.line_with(r"^resp_\w+ of guest: Cancelled")


CHECKS: list[tuple[Check, str]] = [
    *((serves_the_browser_until_either_side_is_gone, example) for example in SERVICES),
    (streams_at_the_pace_of_the_browser_and_keeps_all_of_it, WITH_LANES),
    *((runs_without_a_key, example) for example in SCRIPTS),
    *((brings_its_own_server, example) for example in SERVICES),
    (says_in_one_line_that_the_answer_does_not_fit, "fill_form.py"),
    (asks_for_the_model_that_is_named, "fill_form.py"),
]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def under_way(anyio_backend: str) -> AsyncIterator[dict[tuple[Check, str], asyncio.Task[None]]]:
    """All checks, some of them at the same time, whichever of them is waited for."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def in_turn(check: Check, example: str) -> None:
        async with slots:
            await check(example)

    tasks = {(check, example): asyncio.create_task(in_turn(check, example)) for check, example in CHECKS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.wait(tasks.values())


@pytest.mark.anyio
@pytest.mark.parametrize(("check", "example"), CHECKS, ids=lambda value: getattr(value, "__name__", value))
async def test_an_example(check: Check, example: str, under_way: dict[tuple[Check, str], asyncio.Task[None]]) -> None:
    await under_way[check, example]


def test_every_example_is_executed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {example for _, example in CHECKS}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(LocalServer()) as server:
        yield server


@pytest.fixture
def model_server(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "not needed here")


def blocks(path: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a document, each with the number of its first line."""
    text = path.read_text("utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def snippets() -> list[object]:
    return [
        pytest.param(path, line, code, id=f"{path.name}:{line}")
        for path in DOCUMENTS
        for line, code in blocks(path, "python")
    ]


@pytest.mark.usefixtures("model_server")
@pytest.mark.parametrize(("path", "line", "code"), snippets())
def test_a_block_of_the_documentation_runs(path: Path, line: int, code: str) -> None:
    # The empty lines give a traceback the document's own line numbers.
    exec(compile("\n" * (line - 1) + code, str(path), "exec"), {"__name__": "__main__"})


def test_the_explanation_in_the_documentation_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "handlers.md"
    code = next(code for _, code in blocks(page, "python") if "explain()" in code)
    exec(code, {"__name__": "__main__"})
    assert capsys.readouterr().out in {text for _, text in blocks(page, "text")}


def test_the_readme_has_blocks_to_run() -> None:
    assert len(blocks(DOCUMENTS[0], "python")) >= 5


def test_the_event_reference_lists_every_event_and_no_other() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `(\w+)` \|", (ROOT / "docs" / "events.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert dict(rows) == {name: model.__name__ for name, model in EVENTS.items()}


def test_every_link_within_the_documentation_leads_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_section_leads_to_a_heading() -> None:
    for path in DOCUMENTS:
        for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", path.read_text("utf-8")):
            place = path.parent / target if target else path
            assert anchor in anchors(place), f"{path.name} links to {target}#{anchor}"


@pytest.mark.parametrize("setting", [field.name for kind in (Timeouts, Limits) for field in fields(kind)])
def test_reliability_tells_of_every_clock_and_limit(setting: str) -> None:
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert re.search(rf"^\| `(Limits\.)?{setting}` \|", text, re.MULTILINE)


def test_the_changelog_has_a_place_for_what_is_new() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]" in text or f"## [{__version__}]" in text
