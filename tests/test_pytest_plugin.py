"""The pytest plugin, in pytest runs of its own."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from streamkit.testing import LocalServer
from tests.paths import ROOT

pytest_plugins = ["pytester"]

# Where the package is installed, pytest finds the plugin by itself, and would refuse it a second time.
INSTALLED = bool(entry_points(group="pytest11", name="streamkit"))
LOADED = () if INSTALLED else ("-p", "streamkit.pytest_plugin")

RunTests = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunTests:
    """Run the tests of the folder, strictly."""
    pytester.makeini("[pytest]\naddopts = --strict-config --strict-markers\nfilterwarnings = error\n")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*LOADED, "-p", "no:cacheprovider", *arguments)

    return run


@pytest.fixture
def server(run: RunTests, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server that clients of the inner tests find in the environment, until it is deleted there."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(LocalServer()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def cassettes(pytester: pytest.Pytester) -> list[str]:
    folder = pytester.path / "cassettes"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


SERVER_TESTS = """
import asyncio
import urllib.request

import pytest
from streamkit import Client

async def text_from(url):
    async with Client(base_url=url) as client:
        return (await client.run(model="m", input="Hello")).output_text

def test_a_plain_test_can_use_it(streamkit_server):
    assert streamkit_server.requests == []
    with urllib.request.urlopen(streamkit_server.url + "/models") as answer:
        assert answer.status == 200
    assert [request.path for request in streamkit_server.requests] == ["/v1/models"]

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_async_test_can_use_it(streamkit_server):
    assert "Hello" in await text_from(streamkit_server.url)

def test_a_loop_of_its_own_can_use_it(streamkit_server):
    assert "Hello" in asyncio.run(text_from(streamkit_server.url))

@pytest.mark.streamkit_server(scenario="reasoning", tokens_per_second=10_000)
def test_the_marker_sets_options(streamkit_server):
    assert "two steps" in asyncio.run(text_from(streamkit_server.url))

@pytest.mark.streamkit_server(scenario="no such")
def test_options_are_checked(streamkit_server):
    pass
"""


def test_the_server_can_be_used_by_every_kind_of_test(pytester: pytest.Pytester, run: RunTests) -> None:
    pytester.makepyfile(SERVER_TESTS)
    result = run()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*UsageError: no scenario is called 'no such'*"])


ANSWER = """
import asyncio
import pytest
from streamkit import Client

def answer(cassette, prompt):
    async def run():
        async with Client() as client, cassette.stream(client, model="m", input=prompt) as run:
            return (await run.dispatch()).output_text
    return asyncio.run(run())
"""

CASSETTE_TESTS = (
    ANSWER
    + """
@pytest.mark.parametrize("prompt", ["one/two", "three"])
def test_answers(cassette, prompt):
    assert prompt in answer(cassette, prompt)

class TestClass:
    def test_two(self, cassette):
        assert "first" in answer(cassette, "first")
        assert "second" in answer(cassette, "second")
"""
)

FILES = [
    "test_it/TestClass-test_two-2.sse.jsonl",
    "test_it/TestClass-test_two.sse.jsonl",
    "test_it/test_answers-one-two.sse.jsonl",
    "test_it/test_answers-three.sse.jsonl",
]


def test_a_cassette_is_recorded_once_and_replayed_ever_after(
    pytester: pytest.Pytester, run: RunTests, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_it=CASSETTE_TESTS)
    run().assert_outcomes(passed=3)
    assert cassettes(pytester) == FILES
    assert len(server.requests) == 4
    # Without an address and without a key, nothing could be sent.
    monkeypatch.delenv("OPENAI_BASE_URL")
    run().assert_outcomes(passed=3)
    run("--streamkit-record=none").assert_outcomes(passed=3)
    assert len(server.requests) == 4


@pytest.mark.usefixtures("server")
def test_where_nothing_is_to_be_recorded_a_missing_cassette_is_a_failure(
    pytester: pytest.Pytester, run: RunTests
) -> None:
    pytester.makepyfile(test_it=CASSETTE_TESTS)
    result = run("--streamkit-record=none")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*UsageError: there is no cassette *three.sse.jsonl: record it with --streamkit-*"])
    assert cassettes(pytester) == []


def test_all_records_anew(pytester: pytest.Pytester, run: RunTests, server: LocalServer) -> None:
    pytester.makepyfile(test_it=CASSETTE_TESTS)
    run().assert_outcomes(passed=3)
    before = (pytester.path / "cassettes" / FILES[0]).read_text()
    run("--streamkit-record=all").assert_outcomes(passed=3)
    assert len(server.requests) == 8
    assert cassettes(pytester) == FILES
    assert (pytester.path / "cassettes" / FILES[0]).read_text() != before


@pytest.mark.usefixtures("server")
def test_only_a_test_that_passes_changes_its_cassettes(pytester: pytest.Pytester, run: RunTests) -> None:
    failing = "def test_one(cassette):\n    answer(cassette, 'x')\n"
    pytester.makepyfile(test_it=ANSWER + failing + "    assert False\n")
    run().assert_outcomes(failed=1)
    assert cassettes(pytester) == []
    pytester.makepyfile(test_it=ANSWER + failing)
    run().assert_outcomes(passed=1)
    (path,) = (pytester.path / "cassettes" / "test_it").iterdir()
    before = path.read_text()
    pytester.makepyfile(test_it=ANSWER + failing + "    assert False\n")
    run("--streamkit-record=all").assert_outcomes(failed=1)
    assert path.read_text() == before
    assert cassettes(pytester) == ["test_it/test_one.sse.jsonl"]


@pytest.mark.usefixtures("server")
def test_a_cassette_of_another_request_is_not_replayed(pytester: pytest.Pytester, run: RunTests) -> None:
    pytester.makepyfile(test_it=ANSWER + "def test_one(cassette):\n    answer(cassette, 'x')\n")
    run().assert_outcomes(passed=1)
    pytester.makepyfile(test_it=ANSWER + "def test_one(cassette):\n    answer(cassette, 'y')\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_one.sse.jsonl was recorded for another request: what differs is input*"])


SOURCE_TESTS = """
import asyncio
from streamkit import StreamRun
from streamkit.sources.cassette import Cassette

def test_a_source(cassette, tmp_path):
    path = tmp_path / "live.sse"
    path.write_bytes(b'event: response.completed\\ndata: {"response": {"id": "resp_1"}}\\n\\n')

    async def run():
        async with StreamRun(cassette.source(Cassette(path))) as run:
            return await run.dispatch()

    assert asyncio.run(run()).id == "resp_1"
"""


def test_any_source_can_be_recorded(pytester: pytest.Pytester, run: RunTests) -> None:
    pytester.makepyfile(test_it=SOURCE_TESTS)
    run().assert_outcomes(passed=1)
    assert cassettes(pytester) == ["test_it/test_a_source.sse.jsonl"]
    run("--streamkit-record=none").assert_outcomes(passed=1)


def test_a_cassette_that_is_not_used_makes_no_file(pytester: pytest.Pytester, run: RunTests) -> None:
    pytester.makepyfile("def test_nothing(cassette):\n    pass\n")
    run().assert_outcomes(passed=1)
    assert not (pytester.path / "cassettes").exists()


def test_the_plugin_explains_itself(run: RunTests) -> None:
    run("--help").stdout.fnmatch_lines(["*--streamkit-record={once,none,all}*"])
    run("--markers").stdout.fnmatch_lines(["*@pytest.mark.streamkit_server(**options): the options of LocalServer*"])
    run("--fixtures").stdout.fnmatch_lines(["streamkit_server -- *", "cassette -- *"])


def test_loading_the_plugin_loads_no_library_for_the_network() -> None:
    code = "import sys, streamkit.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "streamkit.testing", "streamkit.sources"} & set(done.stdout.split())


def documented_tests() -> list[str]:
    text = Path(ROOT, "docs", "testing.md").read_text("utf-8")
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if re.search(r"^(async )?def test_", block, re.MULTILINE)]


def test_the_tests_in_the_documentation_pass(
    pytester: pytest.Pytester, run: RunTests, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = documented_tests()
    assert len(blocks) >= 3
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    pytester.makepyfile(**{f"test_{number}": block for number, block in enumerate(blocks)})
    result = run()
    assert result.parseoutcomes().keys() == {"passed"}, result.stdout.str()
    monkeypatch.delenv("OPENAI_BASE_URL")
    result = run("--streamkit-record=none")
    assert result.parseoutcomes().keys() == {"passed"}, result.stdout.str()
