"""For pytest: a local server for a test, and cassettes that are recorded once and replayed ever after.

It is loaded by every pytest of an environment that has streamkit, so that what needs time to load waits for its use.
"""

# To evaluate the annotations would be to make a model of every `ParsedResponse[...]`.
from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import pytest

from streamkit.clocks import Timeouts
from streamkit.context import ApiName
from streamkit.cursor import Retry
from streamkit.dispatch.on import State
from streamkit.errors import UsageError
from streamkit.parsed import Parsed, ParsedResponse
from streamkit.run import StreamRun
from streamkit.source import Source
from streamkit.stage import Stage

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from typing_extensions import TypeForm

    from streamkit.client import Client
    from streamkit.testing import LocalServer, RecordedRequest

RecordMode = Literal["once", "none", "all"]

_PASSED = pytest.StashKey[bool]()


class ServerOfTest:
    """The local server of one test, which runs in a thread of its own, so that any kind of test can use it.

    Attributes:
        url: the base URL to give to a client.
    """

    def __init__(self, server: LocalServer, portal: BlockingPortal) -> None:
        self.url = server.url
        self._server = server
        self._portal = portal

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests received so far, the oldest first."""
        return self._portal.call(lambda: self._server.requests)


class CassetteOfTest:
    """What one test records, or replays: a file for each response, in the order in which the test asks for them."""

    def __init__(self, path: Path, mode: RecordMode) -> None:
        self._path = path
        self._mode = mode
        self._count = 0
        self._new: dict[Path, Path] = {}

    def stream(
        self,
        client: Client,
        *,
        timeouts: Timeouts | None = None,
        retry: Retry | Literal["default"] | None = "default",
        restart: Literal["never", "allowed"] = "never",
        extra_headers: Mapping[str, str] | None = None,
        state: State | None = None,
        stages: Sequence[Stage] = (),
        api: ApiName = "responses",
        text_format: TypeForm[Parsed] | None = None,
        **request: object,
    ) -> StreamRun[State, ParsedResponse[Parsed]]:
        """Do what ``client.stream`` does, and record it; or replay what was recorded, as fast as possible.

        A replay sends nothing and needs no API key.

        Raises:
            UsageError: there is no recording and none is to be made, or it is one of another request; or as
                ``client.stream``.
        """
        path, new = self._next()
        if new is None:
            return client.replay(
                path,
                speed=0,
                timeouts=timeouts,
                retry=retry,
                restart=restart,
                state=state,
                stages=stages,
                api=api,
                text_format=text_format,
                **request,
            )
        # What only this function takes is among the request, as far as the types can tell.
        stream: Callable[..., StreamRun[State, ParsedResponse[Parsed]]] = client.stream
        return stream(
            timeouts=timeouts,
            retry=retry,
            restart=restart,
            extra_headers=extra_headers,
            record=new,
            state=state,
            stages=stages,
            api=api,
            text_format=text_format,
            **request,
        )

    def source(self, live: Source) -> Source:
        """Return the source for a run of your own: ``live``, recorded, or else the recording of it.

        Raises:
            UsageError: there is no recording and none is to be made.
        """
        from streamkit.sources.cassette import Cassette  # noqa: PLC0415
        from streamkit.sources.recording import Recording  # noqa: PLC0415

        path, new = self._next()
        return Cassette(path) if new is None else Recording(live, new)

    def keep(self) -> None:
        """Put what was recorded in its place."""
        for new, path in self._new.items():
            if new.exists():
                new.replace(path)

    def discard(self) -> None:
        """Remove what was recorded; a recording that was there before stays."""
        for new in self._new:
            new.unlink(missing_ok=True)

    def _next(self) -> tuple[Path, Path | None]:
        """Return the path of the next recording, and where to record it, if it is to be recorded."""
        self._count += 1
        name = self._path.name if self._count == 1 else f"{self._path.name}-{self._count}"
        path = self._path.with_name(f"{name}.sse.jsonl")
        if self._mode == "all" or (self._mode == "once" and not path.exists()):
            new = path.with_name(f"{path.name}.new")
            self._new[new] = path
            return path, new
        if not path.exists():
            raise UsageError(f"there is no cassette {path}: record it with --streamkit-record=once")
        return path, None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says what is recorded."""
    parser.getgroup("streamkit").addoption(
        "--streamkit-record",
        choices=get_args(RecordMode),
        default="once",
        help="what the fixture 'cassette' records: what has no cassette yet (once, the default), nothing, so that a "
        "missing cassette is a failure (none), or everything anew (all)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "streamkit_server(**options): the options of LocalServer for the fixture 'streamkit_server'"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test itself passed: only then is what it recorded kept."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture
def streamkit_server(request: pytest.FixtureRequest) -> Iterator[ServerOfTest]:
    """A local server that speaks the Responses API; ``@pytest.mark.streamkit_server(...)`` sets its options."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415

    from streamkit.testing import LocalServer  # noqa: PLC0415

    marker: pytest.Mark | None = request.node.get_closest_marker("streamkit_server")
    options: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(LocalServer(**options)) as server:
        yield ServerOfTest(server, portal)


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[CassetteOfTest]:
    """Recordings of what this test streams, in ``cassettes/<module>/<test>.sse.jsonl`` beside it."""
    name = re.sub(r"[^\w.-]+", "-", request.node.nodeid.partition("::")[2]).strip("-")
    path = request.path.parent / "cassettes" / request.path.stem / name
    made = CassetteOfTest(path, cast("RecordMode", request.config.getoption("--streamkit-record")))
    yield made
    if request.node.stash.get(_PASSED, False):
        made.keep()
    else:
        made.discard()
