"""The run as handlers see it, apart from what drives it."""

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Generic, Literal, cast

from typing_extensions import TypeVar

from streamkit.events import ItemEvent
from streamkit.items import OutputItem
from streamkit.ledger import Ledger
from streamkit.response import Response
from streamkit.stats import RunStats

State_co = TypeVar("State_co", covariant=True, default=SimpleNamespace)
"""What ``run.state`` is."""


ApiName = Literal["responses", "chat"]
"""The APIs that a server may speak: Responses, and Chat Completions."""


class Run(ABC, Generic[State_co]):
    """One response being streamed.

    A handler that takes a second parameter gets it: ``async def show(event: OutputTextDelta, run: Run)``. ``Run[Chat]``
    is a run whose ``state`` is a ``Chat``; a plain ``Run`` has a ``SimpleNamespace``. What takes any run at all takes a
    ``Run[object]``.
    """

    def __init__(
        self,
        *,
        state: State_co | None,
        model: str | None = None,
        base_url: str | None = None,
        api: ApiName = "responses",
    ) -> None:
        self.model = model
        """The model that was asked for, where the run knows it; a resumed run does not."""
        self.base_url = base_url
        """The address of the API that is asked, where the run has one."""
        self.api: ApiName = api
        """Which API is asked; handlers get the same events from both."""
        self.round = 1
        """Which response of the run is being streamed; those after the first follow the calls of tools."""
        self._ledger: Ledger | None = None
        self._state = state

    @property
    def ledger(self) -> Ledger:
        """The calls of tools that run here, as far as they were attempted."""
        if self._ledger is None:
            self._ledger = Ledger()
        return self._ledger

    @property
    def state(self) -> State_co:
        """What was given as ``state`` when the run was made, else an empty namespace: a place for your own values."""
        if self._state is None:
            # Without a state, the type variable stands for its default.
            self._state = cast("State_co", SimpleNamespace())
        return self._state

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
    def item_of(self, event: ItemEvent) -> OutputItem | None:
        """Return the output item that an event belongs to, as the server last sent it whole: its type, its name.

        That is how the events of a call's arguments, which carry no name, are joined with the call. ``None`` where the
        server announced no such item.
        """

    @abstractmethod
    def cancel(self, *, server: bool = False) -> None:
        """Stop the run: no further event is delivered, the connection is closed, the outcome is ``Cancelled``.

        Returns at once; may be called from handlers and from other tasks of the same loop, any number of times. A
        background response goes on at the server, unless ``server=True`` tells it to stop too.
        """
