"""The command line as its users meet it: standard output, standard error, exit codes."""

import gc
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from streamkit.cli import main
from streamkit.cli.meter import Meter
from streamkit.cli.screen import LiveScreen
from streamkit.client import Client
from streamkit.cursor import Retry
from streamkit.errors import ConnectionLost
from streamkit.events import OutputTextDelta
from streamkit.outcome import Opened, Reconnecting
from streamkit.response import Response, Usage
from streamkit.stats import RunStats
from streamkit.testing import SCENARIOS, LocalServer, play
from streamkit.testing.sending import encode_event
from tests.scripted import BEFORE_END, HELLO
from tests.wire_server import WireServer, answer

Process: TypeAlias = "subprocess.Popen[bytes]"

FAST = ("--tokens-per-second", "0")
# A shell that starts tests in the background has them ignore ctrl-C, and children inherit that.
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from streamkit.cli import main; sys.exit(main())"
)
COMMAND = [sys.executable, "-W", "error", "-c", PROGRAM]
HANDLERS = """
from streamkit import Dispatcher, StreamHandler, on

dispatcher = Dispatcher()

@dispatcher.on("response.output_text.delta")
def upper(event):
    print(event.delta.upper(), end="")

class Counter(StreamHandler):
    def __init__(self):
        self.deltas = 0

    async def on_text_delta(self, event):
        self.deltas += 1

    async def on_close(self, outcome):
        print(type(outcome).__name__, self.deltas)

counter = Counter()

class NeedsMore(StreamHandler):
    def __init__(self, more):
        pass

@on("response.completed")
def marked(event):
    print("marked", event.response.id)

def unmarked(event):
    pass

@on("response.output_text.delta")
def broken(event):
    return 1 / 0

hasty = Dispatcher()

@hasty.on("response.output_text.delta", tool="search")
def never(event):
    pass

number = 5
"""


class Ended:
    """What a command came to."""

    def __init__(self, code: int, output: str, errors: str) -> None:
        self.code = code
        self.output = output
        self.errors = errors

    @property
    def complaint(self) -> str:
        """What it says on standard error, but for the attempts that it makes again."""
        return re.sub(r"^attempt \d follows in .*\n", "", self.errors, flags=re.MULTILINE)


class CommandLine:
    """Runs commands within this process, with standard output and standard error captured."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        try:
            code = main(arguments)
        except SystemExit as ending:
            code = int(ending.code or 0)
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err)


@pytest.fixture
def streamkit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return CommandLine(capsys)


@pytest.fixture
def tries_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.cli.commands.Client", partial(Client, retry=Retry(first_delay=0)))


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Have standard input be a pipe that holds what is typed in, and no more."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stdin, open(writing, "wb") as keyboard:
        monkeypatch.setattr(sys, "stdin", stdin)

        def type_in(text: bytes) -> None:
            keyboard.write(text)
            keyboard.close()

        yield type_in


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def server(portal: BlockingPortal) -> Iterator[LocalServer]:
    with portal.wrap_async_context_manager(LocalServer()) as server:
        yield server


@pytest.fixture(scope="module")
def wire(portal: BlockingPortal) -> Iterator[WireServer]:
    with portal.wrap_async_context_manager(WireServer()) as server:
        yield server


@pytest.fixture
def hello(tmp_path: Path) -> str:
    path = tmp_path / "hello.sse"
    path.write_bytes(b"".join(HELLO))
    return str(path)


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_handlers.py").write_text(HANDLERS)
    (tmp_path / "no_python.py").write_text("1 +\n")
    (tmp_path / "no_semaphore.py").write_text("import asyncio\nasyncio.Semaphore(-1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    sys.modules.pop("my_handlers", None)


def saved(scenario: str) -> bytes:
    return b"".join(encode_event(event) for event in play(scenario, {"input": "Hello"}))


def test_the_demo_streams_an_answer_and_sums_it_up(streamkit: CommandLine) -> None:
    ended = streamkit("demo", *FAST)
    assert ended.code == 0
    assert ended.output.startswith("A river begins as an argument")
    assert ended.output.endswith("nothing moves.\n")
    assert re.fullmatch(
        r"completed · \d+ tokens · first token after \d+\.\d\d s · \d+ tokens/s · \d+\.\d s\n", ended.errors
    )
    assert "\x1b" not in ended.output + ended.errors


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_standard_output_is_the_text_of_the_answer_and_nothing_else(streamkit: CommandLine, scenario: str) -> None:
    ended = streamkit("demo", *FAST, "--scenario", scenario)
    last = play(scenario, {"input": "How does a river become the sea?"})[-1]
    response = Response.model_validate(last.get("response", {}))
    assert ended.output.strip() == (response.refusal or response.output_text).strip()
    assert ended.code == (0 if last["type"] == "response.completed" else 1)
    assert ended.errors


@pytest.mark.parametrize(
    ("scenario", "note"),
    [
        ("function-call", 'get_weather({"location":"Paris"})\n'),
        ("reasoning", "Choosing the answer"),
        ("web-search", "web_search_call\n"),
    ],
)
def test_what_is_not_text_is_noted_on_standard_error(streamkit: CommandLine, scenario: str, note: str) -> None:
    assert note in streamkit("demo", *FAST, "--scenario", scenario).errors


def test_run_sends_the_prompt_and_streams_the_answer(streamkit: CommandLine, server: LocalServer) -> None:
    ended = streamkit("run", "Hello there", "--model", "any", "--base-url", server.url)
    assert ended.code == 0
    assert "Hello there" in ended.output
    assert ended.errors.startswith("completed · ")


def test_a_key_that_cannot_be_sent_is_one_line_without_the_key(
    streamkit: CommandLine, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret\nkey")
    ended = streamkit("run", "hi", "--model", "any", "--base-url", server.url)
    assert ended.code == 1
    assert ended.errors.startswith("streamkit: the request's headers, the API key among them, cannot be sent: ")
    assert "secret" not in ended.errors


def test_a_proxy_of_the_environment_does_not_stand_before_this_machine(
    streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert streamkit("demo", *FAST, "--scenario", "text").code == 0


def test_run_reads_the_prompt_from_standard_input_and_settings_from_the_environment(
    streamkit: CommandLine, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_MODEL", "scenario:text")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße".encode())))
    assert "Grüße" in streamkit("run", "-").output


@pytest.mark.parametrize(
    ("errors", "quote"), [("strict", "?"), ("surrogateescape", "?"), ("xmlcharrefreplace", "&#8220;")]
)
def test_what_an_encoding_cannot_express_does_not_cut_the_answer(
    streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch, errors: str, quote: str
) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, "ascii", errors))
    assert streamkit("demo", *FAST, "--scenario", "text").code == 0
    assert output.getvalue().decode().startswith(f"You said: {quote}How does a river")
    assert output.getvalue().endswith(b"from a model.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", *FAST),
        ("serve", "--port", "0"),
        ("explain", "my_handlers:dispatcher"),
        ("replay", "hello.sse", "--handlers", "my_handlers:dispatcher"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.usefixtures("hello", "handlers")
def test_output_that_cannot_be_written_is_one_line(
    streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    with open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8") as unwritable:
        monkeypatch.setattr(sys, "stdout", unwritable)
        ended = streamkit(*arguments)
    assert ended.code == 1
    assert ended.errors.splitlines()[-1] == "streamkit: cannot write to standard output: Bad file descriptor"
    assert "Traceback" not in ended.errors


def test_without_standard_output_nothing_is_asked(streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    ended = streamkit("demo", *FAST)
    assert ended.code == 1
    assert ended.errors == "streamkit: standard output is closed; send it to /dev/null if nobody is to read it\n"


@pytest.mark.parametrize("command", [("run", "-", "--model", "any"), ("replay", "-")], ids=lambda command: command[0])
def test_a_closed_standard_input_is_one_line(
    streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    ended = streamkit(*command)
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == "streamkit: standard input is closed, so there is nothing to be read from it\n"


def test_a_standard_input_that_cannot_be_read_is_one_line(
    streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.open(os.devnull, os.O_WRONLY), encoding="utf-8") as unreadable:
        monkeypatch.setattr(sys, "stdin", unreadable)
        ended = streamkit("run", "-", "--model", "any")
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == "streamkit: cannot read standard input: Bad file descriptor\n"


def test_a_run_tells_of_the_attempts_that_failed(streamkit: CommandLine) -> None:
    ended = streamkit("demo", *FAST, "--faults", "http-error=503;headers.retry-after=0;first=2")
    assert ended.code == 0
    *notices, summary = ended.errors.splitlines()
    assert [notice.partition(": ")[0] for notice in notices] == [
        "attempt 2 follows in 0.0 s",
        "attempt 3 follows in 0.0 s",
    ]
    assert " · 2 reconnects · " in summary


def test_a_recorded_run_is_replayed_with_its_failures(
    streamkit: CommandLine, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "new" / "hello.sse.jsonl")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    recorded = streamkit("run", "Hello there", "--model", "any", "--record", path)
    assert "Hello there" in recorded.output
    monkeypatch.delenv("OPENAI_BASE_URL")
    for speed in ("0", "50"):
        replayed = streamkit("replay", path, "--speed", speed)
        assert (replayed.code, replayed.output) == (0, recorded.output)
        assert replayed.errors.startswith("completed · ")


def test_a_chat_is_asked_recorded_and_replayed(streamkit: CommandLine, server: LocalServer, tmp_path: Path) -> None:
    path = str(tmp_path / "chat.sse.jsonl")
    asking = ("run", "Hello there", "--model", "any", "--api", "chat", "--base-url", server.url)
    asked = streamkit(*asking, "--record", path)
    assert asked.code == 0
    assert "Hello there" in asked.output
    replayed = streamkit("replay", path)
    assert (replayed.code, replayed.output) == (0, asked.output)


@pytest.mark.parametrize("by_pipe", [False, True], ids=["file", "pipe"])
def test_a_saved_chat_is_replayed_where_its_api_is_named(
    streamkit: CommandLine, type_in: Callable[[bytes], None], tmp_path: Path, *, by_pipe: bool
) -> None:
    path = tmp_path / "chat.sse"
    chunks = b'data: {"id":"c","choices":[{"delta":{"content":"Hello"}}]}\n\n', b"data: [DONE]\n\n"
    path.write_bytes(b"".join(chunks))
    type_in(path.read_bytes())
    ended = streamkit("replay", "--api", "chat", "-" if by_pipe else str(path))
    assert (ended.code, ended.output) == (0, "Hello\n")


@pytest.mark.parametrize("by_pipe", [False, True], ids=["file", "pipe"])
def test_replay_tells_how_to_name_the_api_where_it_may_be_another(
    streamkit: CommandLine, type_in: Callable[[bytes], None], tmp_path: Path, *, by_pipe: bool
) -> None:
    path = tmp_path / "chat.sse"
    path.write_bytes(b'data: {"id":"c","choices":[{"delta":{"content":"Hello"}}]}\n\ndata: [DONE]\n\n')
    type_in(path.read_bytes())
    file = "-" if by_pipe else str(path)
    complaint = "streamkit: the stream ended after 2 events without saying how the response ended"
    assumed = streamkit("replay", file)
    assert (assumed.code, assumed.errors) == (1, f"{complaint}; if it comes from a chat server, add --api chat\n")
    assert by_pipe or streamkit("replay", file, "--api", "responses").errors == f"{complaint}\n"


def test_replay_does_not_ask_for_the_api_where_it_is_plain_what_went_wrong(
    streamkit: CommandLine, wire: WireServer, tmp_path: Path
) -> None:
    refused, cut = tmp_path / "refused.sse", tmp_path / "cut.sse.jsonl"
    refused.write_bytes(b'data: {"error":{"message":"No."}}\n\n')
    assert streamkit("replay", str(refused)).errors == "streamkit: No.\n"
    wire.answer = answer(b'data: {"choices":[{"delta":{}}]}\n\n', headers={"Content-Type": "text/event-stream"})
    streamkit("run", "hi", "--model", "m", "--api", "chat", "--base-url", wire.base_url, "--record", str(cut))
    assert re.fullmatch(r"streamkit: .* without saying how the response ended\n", streamkit("replay", str(cut)).errors)


def test_a_background_response_is_taken_up_by_another_process(streamkit: CommandLine, server: LocalServer) -> None:
    to_server = ("--base-url", server.url)
    whole = streamkit("run", "Hello there", "--model", "any", "--background", *to_server)
    notice, _ = whole.errors.splitlines()
    command = re.fullmatch(r"if this is cut short: streamkit (resume resp_\w+)", notice)
    assert command is not None
    again = streamkit(*command[1].split(), *to_server)
    assert (again.code, again.output) == (0, whole.output)
    rest = streamkit(*command[1].split(), "--after", "8", *to_server)
    assert rest.code == 0
    assert whole.output.endswith(rest.output)
    assert len(rest.output) < len(whole.output)


@pytest.mark.usefixtures("tries_again_at_once")
def test_a_response_that_begins_anew_says_so(streamkit: CommandLine, server: LocalServer) -> None:
    to_server = ("--base-url", server.url)
    whole = streamkit("run", "hi", "--model", "any", "--background", *to_server)
    response_id = next(word for word in whole.errors.split() if word.startswith("resp_"))
    ended = streamkit("resume", response_id, "--after", "99999", *to_server)
    assert (ended.code, ended.output) == (0, whole.output)
    assert "the answer begins anew: " in ended.errors


def test_replay_streams_a_saved_answer(streamkit: CommandLine, hello: str) -> None:
    ended = streamkit("replay", hello)
    assert (ended.code, ended.output) == (0, "Hello\n")


def test_replay_of_a_stream_that_breaks_off_shows_what_came(streamkit: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "cut.sse"
    path.write_bytes(b"".join(BEFORE_END))
    ended = streamkit("replay", str(path))
    assert (ended.code, ended.output) == (1, "Hello\n")
    summary, complaint = ended.errors.splitlines()
    assert summary.startswith("disconnected · 2 deltas · ")
    assert complaint == "streamkit: the stream ended after 5 events without saying how the response ended"


def test_replay_reads_standard_input(streamkit: CommandLine, type_in: Callable[[bytes], None]) -> None:
    type_in(saved("text"))
    ended = streamkit("replay", "-")
    assert ended.code == 0
    assert ended.output.startswith("You said: “Hello”")


@pytest.mark.parametrize("text", [b"<html>", b""], ids=["web page", "nothing"])
def test_standard_input_that_is_no_event_stream_is_one_line(
    streamkit: CommandLine, type_in: Callable[[bytes], None], text: bytes
) -> None:
    type_in(text)
    ended = streamkit("replay", "-")
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == "streamkit: - holds no event stream\n"


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("my_handlers:dispatcher", "HELLO\n"),
        ("my_handlers:dispatcher.include", None),
        ("my_handlers:counter", "Completed 2\n"),
        ("my_handlers:Counter", "Completed 2\n"),
        ("my_handlers:marked", "marked resp_1\n"),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_handlers_of_the_user_take_the_place_of_printing(
    streamkit: CommandLine, hello: str, name: str, output: str | None
) -> None:
    ended = streamkit("replay", hello, "--handlers", name)
    if output is None:
        assert ended.code == 1
    else:
        assert (ended.code, ended.output.strip()) == (0, output.strip())
        assert ended.errors.startswith("completed · ")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing:x", "cannot import the module 'missing': ModuleNotFoundError: No module named"),
        ("no_python:x", "cannot import the module 'no_python': SyntaxError: "),
        ("no_semaphore:x", "cannot import the module 'no_semaphore': ValueError: Semaphore initial value"),
        ("my_handlers:missing", "the module 'my_handlers' has no 'missing'"),
        ("my_handlers:unmarked", "cannot include <function unmarked"),
        ("my_handlers:number", "5 handles no events: it is no Dispatcher"),
        ("my_handlers:Dispatcher", "Dispatcher handles no events: it is a class"),
        ("my_handlers:NeedsMore", "cannot make a NeedsMore: "),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_handlers_that_cannot_be_used_are_one_line(
    streamkit: CommandLine, hello: str, name: str, complaint: str
) -> None:
    ended = streamkit("replay", hello, "--handlers", name)
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith(f"streamkit: {complaint}")
    assert ended.errors.count("\n") == 1


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("ending", "does"),
    [
        ("asyncio.run(main())", "runs the program: put asyncio.run(...)"),
        ("program = main(); asyncio.Runner().run(program)", "runs the program: put asyncio.run(...)"),
        ("sys.exit(7)", "calls sys.exit(7): put what runs the program"),
    ],
)
def test_a_module_that_is_a_program_is_one_line_and_does_not_run(
    streamkit: CommandLine, tmp_path: Path, recwarn: pytest.WarningsRecorder, ending: str, does: str
) -> None:
    (tmp_path / "my_program.py").write_text(f"import asyncio, sys\nasync def main(): pass\n{ending}\n")
    ended = streamkit("explain", "my_program:dispatcher")
    gc.collect()
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == f"streamkit: importing 'my_program' {does} under if __name__ == '__main__'\n"
    assert not recwarn.list


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "my_handlers:dispatcher",
            ("response.output_text.delta  my_handlers.upper", "response.output_text.delta  upper"),
        ),
        ("my_handlers:Counter", ("on_close                    my_handlers.Counter.on_close",)),
        ("my_handlers:marked", ("response.completed  my_handlers.marked",)),
    ],
)
def test_explain_shows_what_is_called(streamkit: CommandLine, name: str, lines: list[str]) -> None:
    ended = streamkit("explain", name)
    assert (ended.code, ended.errors) == (0, "")
    assert set(lines) <= {line.strip() for line in ended.output.splitlines()}


@pytest.mark.usefixtures("handlers")
def test_explain_warns_on_standard_error(streamkit: CommandLine) -> None:
    ended = streamkit("explain", "my_handlers:hasty")
    assert ended.code == 0
    assert "Warnings" not in ended.output
    assert ended.errors.startswith("warning: my_handlers.never is never called with tool='search'")


@pytest.mark.usefixtures("handlers")
def test_explain_takes_what_can_be_loaded_and_nothing_else(streamkit: CommandLine) -> None:
    ended = streamkit("explain", "my_handlers:missing")
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors == "streamkit: the module 'my_handlers' has no 'missing'\n"


@pytest.mark.usefixtures("handlers")
def test_a_handler_that_raises_shows_the_traceback_of_its_own_code(streamkit: CommandLine, hello: str) -> None:
    ended = streamkit("replay", hello, "--handlers", "my_handlers:broken")
    assert ended.code == 1
    lines = ended.errors.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "my_handlers.py" in lines[1]
    assert lines[-2] == "ZeroDivisionError: division by zero"
    assert lines[-1].startswith("raised by the handler my_handlers.broken for response.output_text.delta")


FAILURES = {
    "no key": (
        ("run", "hi", "--model", "m"),
        r"there is no API key for api\.openai\.com: set OPENAI_API_KEY",
    ),
    "closed port": (
        ("run", "hi", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"),
        r"cannot connect to http://127\.0\.0\.1:9: Connection refused; check that the server runs",
    ),
    "file": (("replay", "missing.sse"), r"cannot open missing\.sse: No such file or directory"),
    "text": (("replay", __file__), r".*test_cli\.py is neither a cassette nor an event stream"),
    "record": (
        ("run", "hi", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--record", f"{__file__}/x"),
        r"cannot record to .*test_cli\.py/x: ",
    ),
    "response": (("resume", "resp_1"), r"there is no API key for api\.openai\.com: set OPENAI_API_KEY"),
    "address": (("serve", "--host", "192.0.2.1"), r"cannot listen on 192\.0\.2\.1:8000: .*; choose another --port"),
}


@pytest.mark.usefixtures("tries_again_at_once")
@pytest.mark.parametrize(("arguments", "complaint"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_line_that_says_what_to_check(
    streamkit: CommandLine, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = streamkit(*arguments)
    assert (ended.code, ended.output) == (1, "")
    assert re.match(f"streamkit: {complaint}", ended.complaint)
    assert ended.complaint.count("\n") == 1


REFUSALS = {
    "web page": (
        answer(b"<html>\n<h1>Nothing here</h1>", status="404 Not Found", headers={"Content-Type": "text/html"}),
        r".*Nothing here.*; check --base-url and --model",
    ),
    "key": (
        answer(b'{"error": {"message": "No.\\nNo!"}}', status="401 Unauthorized"),
        r"No\. No! \(status=401\); check OPENAI_API_KEY",
    ),
    "control characters": (answer(b"\x1b[2J", status="500 Oops"), r"HTTP 500 .*: \[2J \(status=500\)"),
    "login": (
        answer(b"<html>Log in</html>", headers={"Content-Type": "text/html"}),
        r".*instead of an event stream.*check that base_url.*",
    ),
}


@pytest.mark.usefixtures("tries_again_at_once")
@pytest.mark.parametrize(("refusal", "complaint"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_line_that_says_what_to_check(
    streamkit: CommandLine, wire: WireServer, refusal: bytes, complaint: str
) -> None:
    wire.answer = refusal
    ended = streamkit("run", "hi", "--model", "m", "--base-url", wire.base_url)
    assert (ended.code, ended.output) == (1, "")
    assert re.fullmatch(f"streamkit: {complaint}\n", ended.complaint)


def test_a_response_that_is_not_there_says_to_check_its_id(streamkit: CommandLine, server: LocalServer) -> None:
    ended = streamkit("resume", "resp_0", "--base-url", server.url)
    assert (ended.code, ended.output) == (1, "")
    assert re.fullmatch(r"streamkit: .*'resp_0' not found.*; check the response's id and --base-url\n", ended.errors)


def test_a_refusal_that_is_replayed_leaves_nothing_to_check(
    streamkit: CommandLine, wire: WireServer, tmp_path: Path
) -> None:
    path = str(tmp_path / "refusal.sse.jsonl")
    wire.answer = answer(b'{"error": {"message": "No."}}', status="401 Unauthorized")
    streamkit("run", "hi", "--model", "m", "--base-url", wire.base_url, "--record", path)
    assert streamkit("replay", path).errors == "streamkit: No. (status=401)\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("dance",), "invalid choice: 'dance'"),
        (("run", "hi"), "name a model: --model NAME, or set OPENAI_MODEL"),
        (("run", "hi", "--mod", "any"), "unrecognized arguments: --mod any"),
        (("run", "hi", "--model", "m", "--api", "chat", "--background"), "--background has no counterpart in Chat"),
        (("run", "hi", "--base-url", "localhost:9"), "--base-url: base_url must be an address such as"),
        (("resume", "resp_1", "--base-url", "http://x:y"), "--base-url: base_url is no address"),
        (("resume", "resp_1", "--after", "x"), "a sequence_number is a whole number from 0 on, not 'x'"),
        (("resume", "resp_1", "--after", "-1"), "a sequence_number is a whole number from 0 on, not '-1'"),
        (("replay", __file__, "--speed", "-1"), "--speed: it takes a number from 0 on, not '-1'"),
        (("demo", "--tokens-per-second", "fast"), "--tokens-per-second: it takes a number from 0 on, not 'fast'"),
        (("demo", "--tokens-per-second", "inf"), "--tokens-per-second: it takes a number from 0 on, not 'inf'"),
        (("demo", "--scenario", "txt"), "no scenario is called 'txt'; did you mean 'text'?"),
        (("demo", "--faults", "cut-after-evens=9"), "no fault is called 'cut-after-evens'; did you mean"),
        (("serve", "--background-stream-seconds", "-1"), "it takes a number from 0 on, not '-1'"),
        (("serve", "--port", "65536"), "a port is a number from 0 to 65535, not '65536'"),
        (("serve", "--port", "http"), "a port is a number from 0 to 65535, not 'http'"),
        (("replay", __file__, "--handlers", "my_handlers"), "handlers are named as MODULE:OBJECT"),
        (("explain", ":dispatcher"), "handlers are named as MODULE:OBJECT"),
        (("explain", ".my_handlers:dispatcher"), "name a module as in an import, my_handlers and not ./my_handlers"),
        (("explain", "service/my_handlers:dispatcher"), "instead of 'service/my_handlers'"),
        (("explain", "my_handlers.py:dispatcher"), "instead of 'my_handlers.py'"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2(
    streamkit: CommandLine, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = streamkit(*arguments)
    assert (ended.code, ended.output) == (2, "")
    assert complaint in ended.errors


def test_the_version_is_that_of_the_package(streamkit: CommandLine) -> None:
    ended = streamkit("--version")
    assert (ended.code, ended.output) == (0, f"streamkit {version('streamkit')}\n")


def test_help_names_every_command(streamkit: CommandLine) -> None:
    ended = streamkit("--help")
    assert ended.code == 0
    assert all(command in ended.output for command in ("demo", "run", "resume", "serve", "replay", "explain"))


def test_without_rich_one_line_says_what_to_install(streamkit: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("streamkit.cli.", "rich"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    ended = streamkit("demo")
    assert (ended.code, ended.output) == (1, "")
    assert re.fullmatch(r"streamkit: .*pip install 'streamkit\[cli\]'\n", ended.errors)


SLOWLY = ("--tokens-per-second", "2")
COMMANDS = {
    "run": ("demo", *SLOWLY),
    "another run": ("demo", *SLOWLY),
    "replay": ("replay", "-"),
    "server": ("serve", "--port", "0", "--faults", "no-answer;first=1, cut-after-events=9;connection=1"),
}


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, Process]]:
    """Every command, started together: most of their time is that of the interpreter's start."""
    pipe = subprocess.PIPE
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb", buffering=0) as keyboard:
        keyboard.write(b"".join(BEFORE_END))
        started = {
            name: subprocess.Popen([*COMMAND, *arguments], bufsize=0, stdin=reading, stdout=pipe, stderr=pipe)
            for name, arguments in COMMANDS.items()
        }
        yield started
        for process in started.values():
            process.kill()
            process.communicate(timeout=60)


def interrupted(process: Process) -> tuple[int, bytes, bytes]:
    """Press ctrl-C once the process has written something, and wait for its end."""
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    return process.returncode, first + rest, errors


def test_ctrl_c_ends_a_run_and_the_summary_says_so(processes: dict[str, Process]) -> None:
    code, output, errors = interrupted(processes["run"])
    assert code == 130
    assert re.fullmatch(rb"A[^\n]*\n", output)
    assert re.fullmatch(r"cancelled · \d+ deltas? · .*\n", errors.decode())


@pytest.mark.usefixtures("tries_again_at_once")
def test_the_server_misbehaves_as_it_is_told_until_ctrl_c_ends_it(
    streamkit: CommandLine, processes: dict[str, Process]
) -> None:
    process = processes["server"]
    assert process.stdout is not None
    url = process.stdout.readline().decode()
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/v1\n", url)
    ended = streamkit("run", "hi", "--model", "any", "--background", "--base-url", url.strip())
    assert ended.code == 0
    assert "attempt 2 follows in " in ended.errors
    assert " · 2 reconnects · " in ended.errors
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in errors


def test_ctrl_c_ends_waiting_for_standard_input(processes: dict[str, Process]) -> None:
    assert interrupted(processes["replay"])[0] == 130


def test_a_reader_that_leaves_is_no_failure(processes: dict[str, Process]) -> None:
    process = processes["another run"]
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(timeout=60)) == (b"", 141)


def test_on_a_terminal_a_live_line_follows_the_answer() -> None:
    ours, theirs = pytest.importorskip("pty").openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo", "--tokens-per-second", "400"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60"},
    )
    os.close(theirs)
    shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert "response.output_text.delta · " in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0, "the cursor was hidden and is shown again"
    assert "A river begins as an argument between a stone and a little" in shown
    assert "completed · 297 tokens" in shown.replace("\r\n", "")


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so when the other side is closed.
        return b""


def test_a_line_that_is_wider_than_the_terminal_is_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with LiveScreen(lambda: "") as screen:
        for piece in ("The stone says that ", "nothing", " moves.\n\n", "流" * 15, "\x1b[2J!"):
            screen.write(piece)
        screen.note("a note")
    assert capsys.readouterr().out.splitlines() == [
        "The stone says that ",
        "nothing moves.",
        "",
        "流" * 10,
        "流" * 5 + "[2J!",
        "a note",
    ]


def test_the_meter_tells_deltas_from_the_tokens_that_the_server_counted() -> None:
    stats = RunStats()
    meter = Meter(10.0, stats)
    assert meter.status(10.5) == "connecting · 0.5 s"
    meter.opened(Opened(url="", headers={}))
    assert meter.status(11.0) == "waiting for the first event · 1.0 s"
    for seconds in (12.0, 13.0):
        meter.count(OutputTextDelta(delta="a"), seconds)
    parts = "2 deltas · first delta after 2.00 s · 1 deltas/s · 4.0 s"
    assert meter.status(14.0) == f"response.output_text.delta · {parts}"
    assert meter.summary("completed", Response(), 14.0) == f"completed · {parts}"
    counted = Response(usage=Usage(output_tokens=40))
    assert meter.summary("completed", counted, 14.0).startswith(
        "completed · 40 tokens · first token after 2.00 s · 20 "
    )


def test_the_meter_tells_of_reconnects() -> None:
    stats = RunStats(attempts=1)
    meter = Meter(10.0, stats)
    meter.reconnecting(Reconnecting(attempt=2, delay=1.0, cause=ConnectionLost("cut")))
    assert meter.status(11.0) == "reconnecting · 1.0 s"
    stats.attempts = 2
    assert meter.summary("completed", Response(), 12.0) == "completed · 1 reconnect · 2.0 s"
