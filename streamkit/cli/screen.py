"""Where the answer appears: on a terminal with a live line below it, or as plain text that can be piped."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.cells import cell_len, chop_cells
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from streamkit.cli.complaints import printable
from streamkit.cli.output import write_out

REFRESHES_PER_SECOND = 12


class Screen(Protocol):
    """Takes the answer, piece by piece, while it is entered."""

    def write(self, text: str) -> None:
        """Show a piece of the answer."""
        ...

    def end_line(self) -> None:
        """Begin a new line, unless nothing stands on the current one."""
        ...

    def note(self, text: str) -> None:
        """Show something that is not part of the answer's text."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def screen_for(status: Callable[[], str]) -> Screen:
    """Return the screen for this process; ``status`` gives the live line's text, where there is one."""
    return LiveScreen(status) if sys.stdout.isatty() else PlainScreen()


def tell(line: str, style: str = "dim") -> None:
    """Say something about the run, apart from its answer."""
    Console(stderr=True, soft_wrap=True).print(Text(printable(line), style=style))


class PlainScreen:
    """Writes the text to standard output as it comes, and nothing else; notes go to standard error."""

    def __init__(self) -> None:
        self._in_line = False

    def write(self, text: str) -> None:
        """Show a piece of the answer."""
        write_out(text)
        self._in_line = not text.endswith("\n") if text else self._in_line

    def end_line(self) -> None:
        """Begin a new line, unless nothing stands on the current one."""
        if self._in_line:
            self.write("\n")

    def note(self, text: str) -> None:
        """Show something that is not part of the answer's text."""
        tell(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, BrokenPipeError):
            self.end_line()


class LiveScreen:
    """Prints whole lines, and below them keeps the unfinished line and the status up to date."""

    def __init__(self, status: Callable[[], str]) -> None:
        self._status = status
        self._line = ""
        self._spinner = Spinner("dots")
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def write(self, text: str) -> None:
        """Show a piece of the answer."""
        *whole, self._line = (self._line + printable(text)).split("\n")
        for line in whole:
            self._print(self._fold(line))
        self._line = self._fold(self._line)

    def end_line(self) -> None:
        """Begin a new line, unless nothing stands on the current one."""
        if self._line:
            self.write("\n")

    def note(self, text: str) -> None:
        """Show something that is not part of the answer's text."""
        self.end_line()
        self._console.print(Text(printable(text), style="dim"), soft_wrap=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_line()
        self._live.stop()

    def _render(self) -> Group:
        self._spinner.update(text=Text(printable(self._status()), style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*([Text(self._line)] if self._line else []), self._spinner)

    def _print(self, line: str) -> None:
        self._console.print(Text(line))

    def _fold(self, line: str) -> str:
        """Print what of a line fills the width, and return the rest: a live line must not be taller than the screen."""
        while cell_len(line) > self._console.width:
            head = chop_cells(line, self._console.width)[0]
            cut = head.rfind(" ") + 1 or len(head)
            self._print(line[:cut])
            line = line[cut:]
        return line
