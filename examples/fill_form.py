"""A form that the model fills in, field by field, while it answers.

Run it with ``python examples/fill_form.py``. It brings its own server and needs no key; to ask a real model, set
``OPENAI_API_KEY`` or ``OPENAI_BASE_URL``, and ``OPENAI_MODEL``. The server of ``streamkit serve`` fills in forms when
it is asked for the model ``scenario:structured-json``.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

from pydantic import BaseModel, Field

from streamkit import Client
from streamkit.errors import StreamkitError
from streamkit.partial_model import PartialModel
from streamkit.testing import LocalServer, Script

REQUEST = "Ada Lovelace from London, born 1815, wants to see the engine on 8 July at three in the afternoon."
FILLED = (
    '{"name": "Ada Lovelace", "city": "London", "born": 1815, '
    '"visits": [{"day": "8 July", "purpose": "to see the engine"}, {"day": "9 July", "purpose": "to see it again"}]}'
)


class Visit(BaseModel):
    """When somebody comes, and what for."""

    day: str
    purpose: str


class Form(BaseModel):
    """What there is to fill in."""

    name: str
    city: str
    born: int = Field(description="The year of birth.")
    visits: list[Visit]


def answer(script: Script) -> None:
    """What the local server answers, in place of a model."""
    script.text(FILLED).complete()


def lines_of(form: PartialModel) -> list[str]:
    """Return the form as it is to be shown, with a place for what is still missing."""
    fields = {name: getattr(form, name) for name in Form.model_fields if name != "visits"}
    visits: list[PartialModel] = getattr(form, "visits", None) or []
    lines = [f"{name:>8}: {'…' if value is None else value}" for name, value in fields.items()]
    return lines + [f"{'visit':>8}: {visit.day or '…'}, {visit.purpose or '…'}" for visit in visits]


class Screen:
    """Shows the form: in a terminal always in the same place, elsewhere only what has changed."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def show(self, lines: list[str]) -> None:
        """Show the form as it is now."""
        if sys.stdout.isatty():
            # Up to the first line, and erase from there to the end of the screen.
            print(f"\x1b[{len(self._shown)}F\x1b[J" if self._shown else "", "\n".join(lines), sep="", flush=True)
        elif changed := [line for line in lines if line not in self._shown]:
            print("\n".join(changed), flush=True)
        self._shown = lines


async def main() -> None:
    """Ask for a form and show how it is filled in."""
    async with AsyncExitStack() as stack:
        base_url, model = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_MODEL", "gpt-5-mini")
        if not base_url and not os.environ.get("OPENAI_API_KEY"):
            base_url = (await stack.enter_async_context(LocalServer(scenario=answer, tokens_per_second=100))).url
        client = await stack.enter_async_context(Client(base_url=base_url))
        run = await stack.enter_async_context(client.stream(text_format=Form, model=model, input=REQUEST))
        screen = Screen()
        async for form in run.partials(Form):
            screen.show(lines_of(form))
        response = await run.dispatch()
        print(f"[{response.refusal or response.parsed!r}]")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except StreamkitError as error:
        sys.exit(f"there is no form: {error}")
