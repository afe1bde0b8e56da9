"""The run as handlers see it, apart from what drives it."""

from abc import ABC, abstractmethod
from types import SimpleNamespace

from streamkit.response import Response
from streamkit.stats import RunStats


class Run(ABC):
    """One response being streamed.

    A handler that takes a second parameter gets it: ``async def show(event: OutputTextDelta, run: Run)``.
    """

    def __init__(self, *, model: str | None = None, base_url: str | None = None) -> None:
        self.model = model
        """The model that was asked for, where the run knows it; a resumed run does not."""
        self.base_url = base_url
        """The address of the API that is asked, where the run has one."""
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

    @property
    @abstractmethod
    def stats(self) -> RunStats:
        """The run's own figures: times, counts, retries; some are final only when it has ended."""

    @abstractmethod
    def snapshot(self) -> Response:
        """Return the response as far as it has come."""

    @abstractmethod
    def cancel(self, *, server: bool = False) -> None:
        """Stop the run: no further event is delivered, the connection is closed, the outcome is ``Cancelled``.

        Returns at once; may be called from handlers and from other tasks of the same loop, any number of times. A
        background response goes on at the server, unless ``server=True`` tells it to stop too.
        """
