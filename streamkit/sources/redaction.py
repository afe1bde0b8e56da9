"""What must not be written down: the secrets of a request, hidden in it and blotted out wherever they come back."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue
from pydantic_core import from_json
from yarl import URL

HIDDEN = "***"
"""What is written in the place of a secret."""
MIN_SECRET_BYTES = 8
"""A shorter secret is hidden where it stands, but not looked for elsewhere: it would be found in ordinary words."""

_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|passw|credential|organization|project", re.IGNORECASE)
_HARMLESS_PARAMETERS = frozenset({"api-version", "include", "starting_after", "stream"})
_SECRET_FIELDS = frozenset({"access_token", "api_key", "authorization", "client_secret", "password"})


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpRequest:
    """A request as it is sent, secrets and all."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: bytes | None = field(default=None, repr=False)


class Redaction:
    """A request without its secrets, which it knows.

    Attributes:
        request: the method, the address and the body; headers are left out.
        secrets: what was hidden, to be looked for in what comes back.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.secrets: set[str] = set()
        for name, value in request.headers.items():
            if _SECRET_HEADER.search(name):
                self._hide(value)
        url, secrets = harmless_url(request.url)
        self.secrets.update(secrets)
        self.request: dict[str, JsonValue] = {"method": request.method, "url": url}
        if request.body is not None:
            self.request["body"] = self._of_body(from_json(request.body))

    def _of_body(self, value: JsonValue) -> JsonValue:
        if isinstance(value, list):
            return [self._of_body(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        is_mcp = value.get("type") == "mcp"
        return {
            name: self._hide(entry) if _is_secret(name, entry, is_mcp=is_mcp) else self._of_body(entry)
            for name, entry in value.items()
        }

    def _hide(self, value: JsonValue) -> str:
        for text in _texts(value):
            self.secrets.update((text, text.rpartition(" ")[2]))  # "Bearer …": the last word alone is the secret, too.
        return HIDDEN


def harmless_url(text: str) -> tuple[str, list[str]]:
    """Return an address without its secrets, and those: user, password, and the values of unknown parameters."""
    try:
        url = URL(text)
    except ValueError:
        return HIDDEN, []
    secrets = [part for part in (url.user, url.password) if part]
    if secrets:
        url = url.with_user(None)
    hidden = [(name, value if name in _HARMLESS_PARAMETERS else HIDDEN) for name, value in url.query.items()]
    secrets += [value for name, value in url.query.items() if name not in _HARMLESS_PARAMETERS]
    return str(url.with_query(hidden)) if hidden else str(url), secrets


class Blotter:
    """Blots secrets out of bytes, leaving every length as it was."""

    def __init__(self, secrets: Iterable[str]) -> None:
        encoded = {secret.encode() for secret in secrets}
        self._secrets = sorted((secret for secret in encoded if len(secret) >= MIN_SECRET_BYTES), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)) or b"(?!)")

    def blot(self, data: bytes) -> bytes:
        """Return the bytes with asterisks in the place of secrets."""
        return self._pattern.sub(lambda match: b"*" * len(match[0]), data)

    def unsettled(self, data: bytes) -> int:
        """Return how many of the last bytes may be the beginning of a secret that goes on in the next ones."""
        return max((_overlap(data, secret) for secret in self._secrets), default=0)


def _overlap(data: bytes, secret: bytes) -> int:
    longest = min(len(data), len(secret) - 1)
    return next((size for size in range(longest, 0, -1) if data.endswith(secret[:size])), 0)


def _is_secret(name: str, value: JsonValue, *, is_mcp: bool) -> bool:
    # A remote server's address is often as good as a password.
    if is_mcp and name in {"headers", "server_url"}:
        return value is not None
    return name in _SECRET_FIELDS and isinstance(value, str) and value != ""


def _texts(value: JsonValue) -> Iterator[str]:
    """Yield the texts of a value; of the fields of an object, all of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
