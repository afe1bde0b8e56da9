"""The handlers behind the command line, decorated as yours would be."""

import time

from streamkit.cli.complaints import complaint
from streamkit.cli.meter import Meter
from streamkit.cli.screen import Screen
from streamkit.dispatch import Dispatcher
from streamkit.events import Event, OutputItemDone, OutputTextDelta, OutputTextDone, RefusalDelta, RefusalDone
from streamkit.items import FunctionCall, Message, OutputItem, Reasoning, SummaryText
from streamkit.outcome import Opened, Reconnecting, Restarted
from streamkit.response import Response


def printing(screen: Screen) -> Dispatcher:
    """Return handlers that show the answer on a screen."""
    dispatcher = Dispatcher()

    @dispatcher.on(OutputTextDelta, RefusalDelta)
    def show(event: OutputTextDelta | RefusalDelta) -> None:
        screen.write(event.delta)

    @dispatcher.on(OutputTextDone, RefusalDone)
    def end(_: OutputTextDone | RefusalDone) -> None:
        screen.end_line()

    @dispatcher.on("response.output_item.done")
    def note(event: OutputItemDone) -> None:
        text = _described(event.item)
        if text:
            screen.note(text)

    return dispatcher


def measuring(meter: Meter) -> Dispatcher:
    """Return handlers that count what comes."""
    dispatcher = Dispatcher()
    dispatcher.on(Opened)(meter.opened)
    dispatcher.on_reconnecting(meter.reconnecting)

    @dispatcher.on(Event)
    def count(event: Event) -> None:
        meter.count(event, time.monotonic())

    return dispatcher


def reporting(screen: Screen) -> Dispatcher:
    """Return handlers that tell of failures which are being overcome."""
    dispatcher = Dispatcher()

    @dispatcher.on_reconnecting
    def again(notice: Reconnecting) -> None:
        screen.note(f"attempt {notice.attempt} follows in {notice.delay:.1f} s: {complaint(notice.cause)}")

    @dispatcher.on_restarted
    def anew(notice: Restarted) -> None:
        screen.end_line()
        screen.note(f"the answer begins anew: {complaint(notice.cause)}")

    return dispatcher


def naming(screen: Screen) -> Dispatcher:
    """Return the same handlers, and one that tells how a background response can be taken up."""
    dispatcher = reporting(screen)

    @dispatcher.on_created
    def name(response: Response) -> None:
        screen.note(f"if this is cut short: streamkit resume {response.id}")

    return dispatcher


def _described(item: OutputItem | None) -> str:
    match item:
        case None | Message():
            return ""
        case Reasoning():
            return "\n".join(part.text for part in item.summary if isinstance(part, SummaryText))
        case FunctionCall():
            return f"{item.name}({item.arguments})"
        case _:
            return item.type
