"""The named streams that the local server answers with: each writes one response for one request.

A scenario is a function that writes into a ``Script``; it knows neither time nor chance, so that the same request gives
the same events.
"""

import base64
import difflib
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic_core import to_json

from streamkit.errors import UsageError
from streamkit.testing.request import JsonObject, Request, prompt, section
from streamkit.testing.schemas import requested_json
from streamkit.testing.script import CREATED_AT, MakeId, Script, tokenise
from streamkit.testing.tool_scenarios import custom_tool_call, function_call, mcp, parallel_function_calls

Scenario: TypeAlias = Callable[[Script], object]

MAX_TOKENS = 1_000_000
"""The longest ``long-text`` that a request can ask for."""

_QUOTED_PROMPT = 200

_PROSE = """\
A river begins as an argument between a stone and a little water. The stone says that nothing moves; the \
water does not answer, it leaves. Further down it meets others that left, and together they are a brook \
with opinions.

In the first village the brook turns a mill. It has no idea what flour is, and the miller has no idea \
where the water goes, and both of them do good work all the same. Children send it boats of bark with \
letters aboard. Most of the letters ask for the same thing: write back.

In the plain it slows down, because there is nobody left to race. It becomes wide and brown and a little \
absent, and carries things it was never asked to carry: branches, reflections, the sound of a bell from \
one bank to the other. Bridges are built across it, so that people need not think about it, and the best \
of the bridges make them stop in the middle and think about it after all.

Near the coast the tide comes up to meet it. For some hours every day the river runs backwards, which is \
its way of reading the letter again. Then it goes on, out past the last light, and stops being a river \
without having lost a drop.

Somebody standing on the beach with a cup could say: this came from the mountain. They would be right, \
and it would taste of salt, and somewhere above the snow line a stone would still be saying that nothing \
moves.

"""


def text(script: Script) -> None:
    """A short answer that takes up the prompt."""
    said = prompt(script.request).strip()
    if not said:
        return script.text("Hello! Send me some input and I will take it up, one small delta at a time.").complete()
    quoted = said if len(said) <= _QUOTED_PROMPT else f"{said[:_QUOTED_PROMPT].rstrip()}…"
    return script.text(
        f"You said: “{quoted}” I am a scripted answer from a local server, but every word of mine arrives as an "
        "event of its own, just as it would from a model."
    ).complete()


def long_text(script: Script) -> None:
    """A few hundred words, or as many tokens as ``metadata.tokens`` asks for."""
    wanted = _requested_tokens(script.request)
    if wanted is None:
        return script.text(_PROSE.rstrip()).complete()
    # Where two copies meet, the line break joins the word after it: each copy brings one token less than it has alone.
    copies = -(-wanted // (len(tokenise(_PROSE)) - 1))
    return script.text("".join(tokenise(_PROSE * copies)[:wanted])).complete()


def reasoning(script: Script) -> None:
    """A reasoning item with a summary of two parts, then text."""
    script.reasoning(
        "**Reading the question**\n\nThe user wants an answer, and wants to see that some thought went into it.",
        "**Choosing the answer**\n\nSomething short is best; I will say it plainly.",
    )
    script.text("I thought about it in two steps, and the answer is still forty-two.").complete()


def structured_json(script: Script) -> None:
    """Text that is JSON and fits the schema of the request's ``text.format``."""
    value: JsonObject = {"answer": "forty-two", "confidence": 0.9, "sources": ["a local server"]}
    script.text(requested_json(script.request) or to_json(value).decode()).complete()


def refusal(script: Script) -> None:
    """A message that refuses to answer; the response completes all the same."""
    script.refusal("I'm sorry, but I can't help with that.").complete()


def web_search(script: Script) -> None:
    """A web search, then text that cites what was found."""
    script.web_search(prompt(script.request).strip() or "how do event streams work")
    pages = {"Server-sent events": "https://example.com/events", "Streams": "https://example.org/streams"}
    first, second = (f"([{title}]({url}))" for title, url in pages.items())
    answer = (
        f"A server writes one event after the other into a response that stays open. {first} "
        f"The client reads them as they come. {second}"
    )
    annotations: list[JsonObject] = [
        {
            "type": "url_citation",
            "start_index": answer.index(marker),
            "end_index": answer.index(marker) + len(marker),
            "title": title,
            "url": url,
        }
        for marker, (title, url) in zip((first, second), pages.items(), strict=True)
    ]
    script.text(answer, annotations=annotations).complete()


def code_interpreter(script: Script) -> None:
    """Code is written and run, then text gives the result; ``include`` decides whether the outputs are shown."""
    include = script.request.get("include")
    wanted = isinstance(include, list) and "code_interpreter_call.outputs" in include
    outputs: list[JsonObject] | None = [{"type": "logs", "logs": "3628800\n"}] if wanted else None
    script.code_interpreter("import math\n\nprint(math.factorial(10))\n", outputs)
    script.text("The factorial of 10 is 3,628,800.").complete()


def image(script: Script) -> None:
    """An image comes into being over two partial images, then text presents it."""
    grey, pale, full = (_png(color) for color in ((128, 128, 128), (160, 150, 190), (190, 120, 250)))
    wish = prompt(script.request).strip() or "a violet square"
    script.image(full, partial_images=[grey, pale], revised_prompt=wish)
    script.text("Here is your image. It is small, but it is real.").complete()


def incomplete(script: Script) -> None:
    """An answer, or JSON in the request's format, that is cut off at ``max_output_tokens``, or after 16 tokens."""
    limit = script.request.get("max_output_tokens")
    count = limit if isinstance(limit, int) and limit > 0 else 16
    pieces = tokenise(requested_json(script.request) or _PROSE)
    cut = pieces[: min(count, len(pieces) - 1)]
    script.text("".join(cut), status="incomplete").incomplete("max_output_tokens")


def content_filter(script: Script) -> None:
    """An answer that a content filter cuts off."""
    script.text("I was about to say that", status="incomplete").incomplete("content_filter")


def failed(script: Script) -> None:
    """An ``error`` event, then ``response.failed``: one failure, told twice, as the real server does."""
    script.error("server_error", _SORRY).fail("server_error", _SORRY)


def error_nested(script: Script) -> None:
    """An ``error`` event in the nested shape, and nothing after it."""
    script.error("rate_limit_exceeded", _TOO_FAST)


def error_flat(script: Script) -> None:
    """An ``error`` event in the flat shape, and nothing after it."""
    script.flat_error("rate_limit_exceeded", _TOO_FAST)


_SORRY = "The server had an error while processing your request. Sorry about that!"
_TOO_FAST = "Rate limit reached. Please try again in 1.5s."

SCENARIOS: Mapping[str, Scenario] = {
    "text": text,
    "long-text": long_text,
    "reasoning": reasoning,
    "function-call": function_call,
    "parallel-function-calls": parallel_function_calls,
    "custom-tool-call": custom_tool_call,
    "structured-json": structured_json,
    "refusal": refusal,
    "web-search": web_search,
    "mcp": mcp,
    "code-interpreter": code_interpreter,
    "image": image,
    "incomplete": incomplete,
    "content-filter": content_filter,
    "failed": failed,
    "error-nested": error_nested,
    "error-flat": error_flat,
}
"""Every scenario by its name; the first sentence of its docstring says what it shows."""


def lookup(name: str) -> Scenario:
    """Find a scenario by its name.

    Raises:
        UsageError: there is none of that name; the message says which one may have been meant, and lists them all.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    close = difflib.get_close_matches(name, SCENARIOS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(SCENARIOS)}"
    raise UsageError(f"no scenario is called {name!r}; {hint}")


def play(
    scenario: str | Scenario,
    request: Request | None = None,
    *,
    make_id: MakeId | None = None,
    created_at: int = CREATED_AT,
) -> list[JsonObject]:
    """The events with which a scenario answers a request.

    Raises:
        UsageError: no scenario has that name, or the request asks it for something impossible.
    """
    script = Script(request, make_id=make_id, created_at=created_at)
    write = lookup(scenario) if isinstance(scenario, str) else scenario
    write(script)
    return script.events


def _requested_tokens(request: Request) -> int | None:
    wanted = section(request, "metadata").get("tokens")
    if wanted is None:
        return None
    if re.fullmatch(r"[1-9][0-9]{0,6}", str(wanted)) and int(str(wanted)) <= MAX_TOKENS:
        return int(str(wanted))
    raise UsageError(f"metadata.tokens must be a whole number from 1 to {MAX_TOKENS:,}, not {wanted!r}")


def _png(color: tuple[int, int, int]) -> str:
    """A PNG of 8 by 8 pixels in one colour, as base64."""
    size = 8
    row = b"\0" + bytes(color) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * size)), (b"IEND", b""))
    written = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(written)).decode()
