"""A run that nothing drives, and the shortest way from a dispatcher to its handlers."""

from streamkit import Dispatcher, Run
from streamkit.dispatch import deliver
from streamkit.outcome import Delivery
from streamkit.response import Response
from streamkit.stats import RunStats


class StillRun(Run):
    """A run to hand to handlers."""

    response_id = None
    request_id = None
    text = ""
    stats = RunStats()

    def snapshot(self) -> Response:
        return Response()

    def cancel(self) -> None:
        raise AssertionError("no handler here cancels")


async def send(dispatcher: Dispatcher, *subjects: Delivery, run: Run | None = None) -> None:
    """Deliver subjects one after the other, as one run does."""
    routes = dispatcher.routes()
    run = run or StillRun()
    for subject in subjects:
        await deliver(routes, subject, run)
