"""The command line, ``streamkit``: what it is asked to do, and what becomes of it in one exit code.

What needs ``rich`` is imported when a command runs, so that a missing extra is one line and no traceback.
"""

import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

from streamkit.cli.arguments import parse
from streamkit.cli.complaints import complaint
from streamkit.cli.output import discard_output, prepare_output, write_out
from streamkit.errors import StreamkitError

INTERRUPTED = 130
"""The exit code that shells give a program stopped by ctrl-C."""
READER_GONE = 141
"""The exit code that shells give a program whose output nobody reads any more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 where the response completed, 1 where it failed, 130 after ctrl-C.

    Args:
        arguments: the command line without the program's name; by default that of the process.

    Raises:
        SystemExit: the command line is wrong (code 2), or asks for help or the version (code 0).
    """
    options = parse(arguments)
    try:
        prepare_output()
        from streamkit.cli.commands import execute  # noqa: PLC0415 - rich is an optional extra

        execute(options)
        write_out("")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return READER_GONE
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        return _fail("the command line needs rich, which is not installed: pip install 'streamkit[cli]'")
    except StreamkitError as error:
        return _fail(complaint(error, options.command))
    except Exception as error:  # noqa: BLE001 - the user's handlers raise what they like
        _show_traceback(error)
        return 1
    return 0


def _fail(message: str) -> int:
    print(f"streamkit: {message}", file=sys.stderr)
    return 1


def _show_traceback(error: Exception) -> None:
    """Print the traceback without the frames that led to the user's code, where it came as far as that."""
    own = error.__traceback__
    while own is not None and _is_machinery(own):
        own = own.tb_next
    traceback.print_exception(type(error), error, own or error.__traceback__)


def _is_machinery(frame: TracebackType) -> bool:
    module = str(frame.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] in {"streamkit", "asyncio"}
