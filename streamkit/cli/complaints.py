"""Errors in the words of the command line: one line, with what to check."""

from streamkit.errors import ServerError, StreamkitError

_ADVICE = {
    401: "check OPENAI_API_KEY",
    403: "check OPENAI_API_KEY, and what it may be used for",
    405: "check --base-url",
}
ADVICE = {
    "run": _ADVICE | {404: "check --base-url and --model"},
    "resume": _ADVICE | {404: "check the response's id and --base-url"},
}
"""What to check, by the command that asks a server and the HTTP status of its refusal."""


def complaint(error: StreamkitError, command: str = "") -> str:
    """Return what an error says as one line, with what to check where the command failed for it."""
    line = printable(" ".join(str(error).split()))
    advice = ADVICE.get(command, {}).get(_status(error) or 0)
    return f"{line}; {advice}" if advice else line


def printable(text: str) -> str:
    """Return the text without the control characters with which a server could command a terminal."""
    return "".join(character for character in text if character in "\n\t" or not _is_control(character))


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0


def _status(error: StreamkitError) -> int | None:
    # The errors raised for an outcome have the server's own error as their cause.
    return error.__cause__.status if isinstance(error.__cause__, ServerError) else None
