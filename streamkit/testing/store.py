"""The responses that the local server remembers, so that they can be fetched, continued and deleted."""

from abc import ABC, abstractmethod

from streamkit.testing.request import JsonObject, objects

MAX_STORED_RESPONSES = 1_000
"""The oldest response is forgotten when one more than this is stored."""


class Stored(ABC):
    """A response that is remembered.

    Attributes:
        input: the items that it answers.
    """

    def __init__(self, input: list[JsonObject]) -> None:  # noqa: A002 - the wire's own word
        self.input = input

    @property
    @abstractmethod
    def response(self) -> JsonObject:
        """The response as it is now."""

    @property
    def output(self) -> list[JsonObject]:
        """The items of the response; the next request has to answer the calls among them."""
        return objects(self.response["output"])


class StoredResponse(Stored):
    """A response that is finished."""

    def __init__(self, response: JsonObject, input: list[JsonObject]) -> None:  # noqa: A002 - the wire's own word
        super().__init__(input)
        self._response = response

    @property
    def response(self) -> JsonObject:
        """The response as it ended."""
        return self._response


class ResponseStore:
    """Responses by id, as many as ``limit``."""

    def __init__(self, *, limit: int = MAX_STORED_RESPONSES) -> None:
        self._limit = limit
        self._responses: dict[str, Stored] = {}

    def add(self, stored: Stored) -> None:
        """Remember a response; the oldest one makes room for it."""
        self._responses[str(stored.response["id"])] = stored
        if len(self._responses) > self._limit:
            del self._responses[next(iter(self._responses))]

    def get(self, response_id: str) -> Stored | None:
        """The response of that id, if it is still remembered."""
        return self._responses.get(response_id)

    def delete(self, response_id: str) -> bool:
        """Forget a response, and say whether there was one."""
        return self._responses.pop(response_id, None) is not None
