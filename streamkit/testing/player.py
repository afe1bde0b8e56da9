"""Plays the scenario that a request chooses, at the pace that it asks for, whatever the endpoint."""

import asyncio
import time

from aiohttp import web

from streamkit.testing.ids import random_id
from streamkit.testing.incoming import SCENARIO_HEADER, TOKENS_PER_SECOND_HEADER, header_number
from streamkit.testing.moderator import Moderator
from streamkit.testing.request import JsonObject, section
from streamkit.testing.scenarios import Scenario, lookup, play
from streamkit.testing.sending import Pace

MODEL_PREFIX = "scenario:"
"""What stands before the name of a scenario where a request chooses it as its model."""


class Player:
    """The scenario and the pace of requests that ask for none, and the moderation of those that ask for one."""

    def __init__(self, scenario: str | Scenario, *, tokens_per_second: float, moderator: Moderator) -> None:
        self._scenario = lookup(scenario) if isinstance(scenario, str) else scenario
        self._tokens_per_second = tokens_per_second
        self._moderator = moderator

    def events(self, request: web.Request, body: JsonObject) -> list[JsonObject]:
        """The events of the response to a request for one.

        Raises:
            UsageError: no scenario has the name that is asked for, or it is asked for something impossible.
        """
        events = play(self._chosen_scenario(request, body), body, make_id=random_id, created_at=int(time.time()))
        return self._moderator.moderated(events, body)

    def pace(self, request: web.Request) -> Pace:
        """The pace of the answer, which begins now."""
        rate = header_number(request, TOKENS_PER_SECOND_HEADER, self._tokens_per_second)
        return Pace(rate, clock=asyncio.get_running_loop().time)

    def _chosen_scenario(self, request: web.Request, body: JsonObject) -> Scenario:
        model, metadata = str(body["model"]), section(body, "metadata")
        named = model.removeprefix(MODEL_PREFIX) if model.startswith(MODEL_PREFIX) else None
        name = named or request.headers.get(SCENARIO_HEADER) or metadata.get("scenario")
        return self._scenario if name is None else lookup(str(name))
