"""Modules that libraries import when they first need them, imported at the start.

The agent runs for months. Meanwhile an upgrade may remove the package, for a moment or for good, or replace it by
another version: what is imported then fails, or does not fit.
"""

from importlib import import_module
from typing import Final

_NAMES: Final = (
    "anyio._backends._asyncio",
    "anyio.streams.tls",
    "concurrent.futures.thread",  # of asyncio, for names to look up
    "encodings.idna",  # of the socket module, for each name
    "encodings.punycode",  # of encodings.idna
    "encodings.utf_8_sig",  # of json, for each response
    "httpcore",  # of httpx
    "httpcore._backends.anyio",
    "python_socks.async_.anyio.v2",  # of httpx-socks
    "shlex",
)


def import_all() -> None:
    """Import them."""
    for name in _NAMES:
        import_module(name)
