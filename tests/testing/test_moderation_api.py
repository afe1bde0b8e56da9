"""Moderation over a socket, as the official client sees it: the endpoint, and the moderation of responses."""

from typing import Any

import openai
import pytest

from streamkit.errors import UsageError
from streamkit.testing import LocalServer
from tests.testing.clients import both

pytestmark = pytest.mark.anyio

ASKED = {"model": "omni-moderation-latest"}


class TestEndpoint:
    @pytest.mark.parametrize(
        ("given", "flagged"),
        [
            ("That is poppycock.", [True]),
            ("That is true.", [False]),
            (["Balderdash!", "Indeed.", "tommyrot"], [True, False, True]),
            ([{"type": "text", "text": "Good"}, {"type": "text", "text": "poppycock"}], [True]),
            ([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}], [False]),
            ([], []),
        ],
    )
    async def test_results(self, given: Any, flagged: list[bool]) -> None:
        async with both() as (_, client):
            answer = await client.moderations.create(input=given)
        assert [result.flagged for result in answer.results] == flagged
        assert [result.categories.harassment for result in answer.results] == flagged
        assert answer.id.startswith("modr-")
        assert answer.model == "omni-moderation-latest"

    async def test_words_and_model_of_ones_own(self) -> None:
        async with both(moderation_words=["Atlantis"]) as (server, client):
            answer = await client.moderations.create(input=["atlantis", "poppycock"], model="mine")
            (recorded,) = server.requests
        assert [result.flagged for result in answer.results] == [True, False]
        assert answer.model == "mine"
        assert recorded.path == "/v1/moderations"

    async def test_a_request_without_input_is_refused(self) -> None:
        async with both() as (_, client):
            with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'input'"):
                await client.moderations.create(input=None)

    async def test_faults_strike_it_too(self) -> None:
        async with both() as (_, client):
            with pytest.raises(openai.RateLimitError):
                await client.moderations.create(input="Hi", extra_headers={"x-streamkit-faults": "http-error=429"})

    def test_words_that_are_no_list_are_refused_at_once(self) -> None:
        with pytest.raises(UsageError, match="list of words"):
            LocalServer(moderation_words="poppycock")


class TestResponses:
    async def test_the_end_of_a_stream_says_what_was_flagged(self) -> None:
        async with both(scenario="reasoning") as (_, client):
            stream = await client.responses.create(model="m", input="poppycock", moderation=ASKED, stream=True)
            events = [event async for event in stream]
        assert [event.response.moderation for event in events[:2]] == [None, None]
        moderation = events[-1].response.moderation
        assert (moderation.input.flagged, moderation.output.flagged) == (True, False)
        assert moderation.input.type == moderation.output.type == "moderation_result"

    async def test_what_is_stored_says_it_too(self) -> None:
        async with both() as (_, client):
            made = await client.responses.create(model="m", input="poppycock", moderation=ASKED)
            stored = await client.responses.retrieve(made.id)
        assert made.moderation.output.flagged is True
        assert stored == made

    async def test_a_policy_of_blocking_blocks_nothing(self) -> None:
        policy = {"input": {"mode": "block"}, "output": {"mode": "block"}}
        async with both() as (_, client):
            made = await client.responses.create(model="m", input="poppycock", moderation={**ASKED, "policy": policy})
        assert made.status == "completed"
        assert "poppycock" in made.output_text

    async def test_a_moderation_without_a_model_is_refused(self) -> None:
        async with both() as (_, client):
            with pytest.raises(openai.BadRequestError, match=r"'moderation\.model'"):
                await client.responses.create(model="m", input="Hi", moderation={"policy": None})
