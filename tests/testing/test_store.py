"""The store of responses forgets the oldest, and knows which calls a response leaves open."""

from streamkit.testing.scenarios import play
from streamkit.testing.store import ResponseStore, StoredResponse


def stored(response_id: str) -> StoredResponse:
    return StoredResponse({"id": response_id, "output": []}, [])


def test_the_oldest_response_makes_room() -> None:
    store = ResponseStore(limit=2)
    for response_id in ("resp_1", "resp_2", "resp_3"):
        store.add(stored(response_id))
    assert [store.get(name) is not None for name in ("resp_1", "resp_2", "resp_3")] == [False, True, True]


def test_deleting_says_whether_there_was_something() -> None:
    store = ResponseStore()
    store.add(stored("resp_1"))
    assert [store.delete("resp_1"), store.delete("resp_1")] == [True, False]


def test_the_output_is_that_of_the_response() -> None:
    response = play("parallel-function-calls")[-1]["response"]
    assert StoredResponse(response, []).output == response["output"]
