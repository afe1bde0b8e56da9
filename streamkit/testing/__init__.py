"""What tests and demonstrations stand on: scripted responses, and a local server that streams them."""

from streamkit.testing.scenarios import SCENARIOS, Scenario, lookup, play
from streamkit.testing.script import Script, numbered_ids
from streamkit.testing.server import LocalServer, RecordedRequest, create_app

__all__ = [
    "SCENARIOS",
    "LocalServer",
    "RecordedRequest",
    "Scenario",
    "Script",
    "create_app",
    "lookup",
    "numbered_ids",
    "play",
]
