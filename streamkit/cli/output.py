"""Standard output as the shell hands it over: of any encoding, onto a full disk, to a reader that leaves, or closed."""

import os
import sys
from io import TextIOWrapper

from streamkit.errors import UsageError


def prepare_output() -> None:
    """Have standard output write a question mark for what its encoding cannot express.

    Raises:
        UsageError: it is closed.
    """
    output: object = sys.stdout
    if output is None:
        raise UsageError("standard output is closed; send it to /dev/null if nobody is to read it")
    # Python chooses these two by itself; whoever named another in PYTHONIOENCODING wants that one.
    if isinstance(output, TextIOWrapper) and output.errors in {"strict", "surrogateescape"}:
        output.reconfigure(errors="replace")


def write_out(text: str) -> None:
    """Write to standard output, and pass on at once what was written before.

    Raises:
        BrokenPipeError: nobody reads it any more.
        UsageError: it cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise UsageError(f"cannot write to standard output: {error.strerror}") from error


def discard_output() -> None:
    """Let standard output lead nowhere from now on."""
    # What is still in the buffer would raise once more when the interpreter flushes it on exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
