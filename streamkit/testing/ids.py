"""The ids that the local server gives to what it makes."""

import secrets


def random_id(prefix: str, *, separator: str = "_") -> str:
    """An id such as the API gives to requests and responses; older endpoints separate the prefix with a dash."""
    return f"{prefix}{separator}{secrets.token_hex(16)}"
