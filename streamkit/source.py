"""What a run reads: anything that opens to chunks of bytes."""

from collections.abc import Callable
from typing import Protocol, Self

from streamkit.cursor import Cursor
from streamkit.outcome import Opened
from streamkit.response import Response


class Chunks(Protocol):
    """An opened source: an asynchronous iterator of chunks that ends where the bytes end."""

    @property
    def opened(self) -> Opened:
        """What the other side said on opening."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes:
        """Return the next bytes; where it is cancelled, it must end.

        Raises:
            StopAsyncIteration: the bytes have ended.
            TransportError: they were cut off.
        """
        ...

    async def aclose(self) -> None:
        """Give up everything that is held; may be called at any time, and more than once."""
        ...


class PushedChunks(Chunks, Protocol):
    """Chunks that tell when bytes have come, so that these can be worked on there and then, and no task is woken up.

    Attributes:
        has_more: whether something may be left that the last ``take`` did not return, be it the end.
    """

    has_more: bool

    def take(self) -> bytes | None:
        """Return what has come and was not taken: ``b""`` where that is nothing, ``None`` where the bytes have ended.

        Raises:
            TransportError: they were cut off.
        """
        ...

    def listen(self, came: Callable[[], None]) -> None:
        """From now on, have the event loop call a function whenever there may be something to take, or the bytes end.

        Who is called takes until there is nothing: one call may stand for much.
        """
        ...


class Source(Protocol):
    """Where the bytes of one run come from."""

    async def open(self, cursor: Cursor) -> Chunks:
        """Open the source, or open it again after a cut.

        Where the source can go on after the cursor, or begin the same response anew, it may do either: the run drops
        what it has seen. A cursor without a response id asks for a response from its beginning.

        Raises:
            ServerError: the server refused.
            TransportError: there is no answer.
        """
        ...


class Background(Protocol):
    """A response that goes on at the server whether or not anybody reads it."""

    async def retrieve(self, response_id: str) -> Response:
        """Fetch the response as it stands.

        Raises:
            ServerError: the server refused.
            TransportError: there is no answer.
        """
        ...

    async def cancel(self, response_id: str) -> None:
        """Ask the server to stop the response; raises as ``retrieve`` does."""
        ...
