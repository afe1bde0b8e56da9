"""The run as handlers see it, apart from what drives it."""

from abc import ABC, abstractmethod
from types import SimpleNamespace

from streamkit.response import Response


class Run(ABC):
    """One response being streamed.

    A handler that takes a second parameter gets it: ``async def show(event: OutputTextDelta, run: Run)``.
    """

    def __init__(self) -> None:
        self.state = SimpleNamespace()
        """A place for your own values; streamkit leaves it alone."""

    @property
    @abstractmethod
    def response_id(self) -> str | None:
        """The response's id, once the server has named it."""

    @property
    @abstractmethod
    def request_id(self) -> str | None:
        """The server's id for the HTTP request, once it has answered; quote it when asking for help."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The text of the answer so far."""

    @abstractmethod
    def snapshot(self) -> Response:
        """Return the response as far as it has come."""

    @abstractmethod
    def cancel(self, *, server: bool = False) -> None:
        """Stop the run: no further event is delivered, the connection is closed, the outcome is ``Cancelled``.

        Returns at once; may be called from handlers and from other tasks of the same loop, any number of times. A
        background response goes on at the server, unless ``server=True`` tells it to stop too.
        """
