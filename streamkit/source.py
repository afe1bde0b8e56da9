"""What a run reads: anything that opens to chunks of bytes."""

from collections.abc import Mapping
from typing import Protocol, Self

from streamkit.outcome import Opened


class Chunks(Protocol):
    """An opened source: an asynchronous iterator of chunks that ends where the bytes end."""

    @property
    def opened(self) -> Opened:
        """What the other side said on opening."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> bytes:
        """Return the next bytes.

        Raises:
            StopAsyncIteration: the bytes have ended.
            TransportError: they were cut off.
        """
        ...

    async def aclose(self) -> None:
        """Give up everything that is held; may be called at any time, and more than once."""
        ...


class Source(Protocol):
    """Where the bytes of one run come from."""

    async def open(self) -> Chunks:
        """Open the source.

        Raises:
            ServerError: the server refused.
            TransportError: there is no answer.
        """
        ...


NO_HEADERS: Mapping[str, str] = {}
"""For sources that know of no headers."""
