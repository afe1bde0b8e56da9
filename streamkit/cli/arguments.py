"""The command line's words: commands, options and their help."""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import TypeVar, get_args

from streamkit.client import Client
from streamkit.context import ApiName
from streamkit.errors import UsageError
from streamkit.testing import parse_faults
from streamkit.testing.scenarios import lookup
from streamkit.testing.server import BACKGROUND_STREAM_SECONDS

Checked = TypeVar("Checked")

DEMO_TOKENS_PER_SECOND = 80.0
"""Fast enough to be lively, slow enough to be read."""
SERVE_PORT = 8000

_AddParser = Callable[..., argparse.ArgumentParser]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line.

    Raises:
        SystemExit: it is wrong (code 2), or asks for help or the version (code 0).
    """
    parser = argparse.ArgumentParser(
        prog="streamkit", description="Stream model responses from the command line.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"streamkit {version('streamkit')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_demo, _add_run, _add_resume, _add_serve, _add_replay, _add_explain):
        add(partial(commands.add_parser, allow_abbrev=False))
    options = parser.parse_args(arguments)
    if options.command == "run" and not options.model:
        commands.choices["run"].error("name a model: --model NAME, or set OPENAI_MODEL")
    if options.command == "run" and options.background and options.api == "chat":
        commands.choices["run"].error("--background has no counterpart in Chat Completions: leave it or --api chat out")
    return options


def _add_demo(add_parser: _AddParser) -> None:
    command = add_parser("demo", help="stream an answer from a server inside this process; needs no key")
    _add_server_options(command, scenario="long-text", tokens_per_second=DEMO_TOKENS_PER_SECOND)


def _add_run(add_parser: _AddParser) -> None:
    command = add_parser("run", help="send a prompt and stream the answer")
    command.add_argument("prompt", metavar="PROMPT", help="what to ask; - reads it from standard input")
    command.add_argument("--model", metavar="NAME", default=os.environ.get("OPENAI_MODEL"), help="else OPENAI_MODEL")
    command.add_argument("--background", action="store_true", help="let it go on at the server when the stream is cut")
    _add_api(command, default="responses", help_="chat for a server that knows no responses (%(default)s)")
    _add_client_options(command)


def _add_resume(add_parser: _AddParser) -> None:
    command = add_parser("resume", help="take up the stream of a background response")
    command.add_argument("response_id", metavar="RESPONSE_ID", help="its id, as run --background tells it")
    command.add_argument(
        "--after", metavar="N", type=_sequence_number, help="the sequence_number of the last event that was seen"
    )
    _add_client_options(command)


def _add_serve(add_parser: _AddParser) -> None:
    command = add_parser("serve", help="run a local server that answers with scripted streams")
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    command.add_argument("--port", type=_port, default=SERVE_PORT, help="the port; 0 takes a free one (%(default)s)")
    _add_server_options(command, scenario="text", tokens_per_second=0.0)
    command.add_argument(
        "--background-stream-seconds",
        metavar="SECONDS",
        type=_from_zero,
        default=BACKGROUND_STREAM_SECONDS,
        help="how long a background response can be streamed (%(default)g)",
    )


def _add_replay(add_parser: _AddParser) -> None:
    command = add_parser("replay", help="stream an answer from a recording or a saved event stream")
    command.add_argument("file", metavar="FILE", help="what --record wrote, or an event stream; - reads standard input")
    command.add_argument(
        "--speed",
        metavar="FACTOR",
        type=_from_zero,
        default=0.0,
        help="of a recording: 1 is as fast as it was recorded, 0 as fast as possible (%(default)g)",
    )
    _add_api(command, default=None, help_="what an event stream without the request is of: responses, if not told")
    _add_handlers(command)


def _add_explain(add_parser: _AddParser) -> None:
    command = add_parser("explain", help="show which of your handlers are called for what")
    command.add_argument(
        "handlers",
        metavar="MODULE:OBJECT",
        type=_module_and_path,
        help="what --handlers takes; it warns of handlers that are never called",
    )


def _add_server_options(command: argparse.ArgumentParser, *, scenario: str, tokens_per_second: float) -> None:
    command.add_argument(
        "--scenario",
        metavar="NAME",
        type=_checked(lookup),
        default=scenario,
        help="what the server answers (%(default)s)",
    )
    command.add_argument(
        "--tokens-per-second",
        metavar="RATE",
        type=_from_zero,
        default=tokens_per_second,
        help="how fast; 0 is as fast as possible (%(default)g)",
    )
    command.add_argument(
        "--faults",
        metavar="FAULTS",
        type=_checked(parse_faults),
        default="",
        help="what goes wrong, such as 'cut-after-events=9;connection=1'; docs/testing.md tells how they are written",
    )


def _add_api(command: argparse.ArgumentParser, *, default: ApiName | None, help_: str) -> None:
    command.add_argument("--api", choices=get_args(ApiName), default=default, help=help_)


def _add_client_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base-url",
        metavar="URL",
        type=_checked(_base_url),
        help="the server, up to /v1; else OPENAI_BASE_URL, else OpenAI",
    )
    command.add_argument("--record", metavar="FILE", help="write the stream into a file for replay; overwrites it")
    _add_handlers(command)


def _add_handlers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--handlers",
        metavar="MODULE:OBJECT",
        type=_module_and_path,
        help="your own handlers, called instead of printing the answer: a Dispatcher, a StreamHandler, or a function "
        "marked with @on(...); modules of the current directory can be named",
    )


def _checked(check: Callable[[str], Checked]) -> Callable[[str], Checked]:
    """Return the same check for an argument: what streamkit cannot work with is a wrong command line."""

    def checked(text: str) -> Checked:
        try:
            return check(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _base_url(text: str) -> str:
    return Client(base_url=text).base_url


def _module_and_path(text: str) -> tuple[str, str]:
    module, _, path = text.partition(":")
    if not module or not path:
        form = "MODULE:OBJECT, such as my_handlers:dispatcher"
        raise argparse.ArgumentTypeError(f"handlers are named as {form}, not as {text!r}")
    if module.startswith(".") or module.endswith(".py") or "/" in module or "\\" in module:
        raise argparse.ArgumentTypeError(
            f"name a module as in an import, my_handlers and not ./my_handlers.py, instead of {module!r}"
        )
    return module, path


def _from_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"it takes a number from 0 on, not {text!r}")
    return number


def _sequence_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a sequence_number is a whole number from 0 on, not {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)
