"""Without I/O: the deltas of a stream from bytes to frames, and from frames to typed events."""

from collections.abc import Sequence

from benchmarks.effort import Effort
from benchmarks.processes import Job, best_of
from benchmarks.report import Bounded, Compared, Row
from benchmarks.timing import best_cpu_seconds
from benchmarks.wire import deltas
from streamkit.codec import decode
from streamkit.sse import Decoder

OPENAI = "openai SSEDecoder + construct_type"
PIECE_BYTES = 16 * 1024


def rows(effort: Effort) -> list[Row]:
    """Measure and compare."""
    functions = (sse_microseconds, sse_microseconds_in_pieces, codec_microseconds, openai_microseconds)
    figures = best_of(effort.rounds, {each.__name__: Job(each, {"frames": effort.tokens}) for each in functions})
    sse, in_pieces, codec, peer = figures.values()
    both = None if sse is None or codec is None else sse + codec
    return [
        Bounded("bytes to a frame, one in a chunk", "µs", sse, 1.0),
        Bounded("bytes to a frame, in chunks of 16 KiB", "µs", in_pieces, 1.0),
        Bounded("frame to a typed event", "µs", codec, 3.0),
        Compared("bytes to a typed event, one in a chunk", "µs", both, OPENAI, peer, 1 / 20),
    ]


def sse_microseconds(frames: int) -> float:
    """Return the CPU time for a frame that comes alone in its chunk."""
    return _sse_seconds(deltas(frames)) * 1e6 / frames


def sse_microseconds_in_pieces(frames: int) -> float:
    """Return the CPU time for a frame that comes with others, in chunks cut wherever that falls."""
    whole = b"".join(deltas(frames))
    pieces = [whole[start : start + PIECE_BYTES] for start in range(0, len(whole), PIECE_BYTES)]
    return _sse_seconds(pieces) * 1e6 / frames


def codec_microseconds(frames: int) -> float:
    """Return the CPU time for the event of a frame."""
    decoded = Decoder().feed(b"".join(deltas(frames)))

    def work() -> None:
        for frame in decoded:
            decode(frame)

    return best_cpu_seconds(work) * 1e6 / frames


def openai_microseconds(frames: int) -> float:
    """Return openai-python's CPU time for the whole way, from chunks of one frame each."""
    from benchmarks.clients.openai_decoding import decode_all  # noqa: PLC0415 - it may not be installed

    chunks = deltas(frames)
    return best_cpu_seconds(lambda: decode_all(chunks), repetitions=3) * 1e6 / frames


def _sse_seconds(chunks: Sequence[bytes]) -> float:
    def work() -> None:
        decoder = Decoder()
        for chunk in chunks:
            decoder.feed(chunk)

    return best_cpu_seconds(work)
