"""The server process of the soak: prints its address, then misbehaves as each request asks it to."""

import asyncio
import random
from collections.abc import Iterable

from streamkit.testing import Fault, LocalServer, RecordedRequest, parse_faults

UNRELIABLE_HEADER = "x-soak-faults-now-and-then"
"""Request header that says what goes wrong with every other answer, by chance; ``parse_faults`` reads it."""

_COIN = random.Random(0)


def _now_and_then(request: RecordedRequest) -> Iterable[Fault]:
    text = request.headers.get(UNRELIABLE_HEADER)
    return parse_faults(text) if text is not None and _COIN.random() < 0.5 else ()


async def _serve() -> None:
    async with LocalServer(faults=_now_and_then) as server:
        print(server.url, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
