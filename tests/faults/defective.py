"""The agent with defects that a test orders: `python defective.py DIRECTORY run`, and the other commands.

A file in that directory, named as a call of the provider or the store (a token request by its grant, such as
`refresh_token`), makes the next such call raise what no code foresees: an exception whose text quotes everything that
the call was given.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from auth_agent import daemon
from auth_agent.cli import commands
from auth_agent.config import Account
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret


class Defective:
    """Stands before something, and has its defects."""

    def __init__(self, real: object, orders: Path) -> None:
        self._real = real
        self._orders = orders

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return partial(_raise, found, self._orders, name) if callable(found) else found


async def _raise(call: Callable[..., Any], orders: Path, name: str, *given: object) -> Any:
    grants = [each.grant_type.rpartition(":")[2] for each in given if isinstance(each, TokenRequest)]
    if not _is_given(orders / (grants[0] if grants else name)):
        return await call(*given)
    quoted = " ".join(_quoted(each) for each in given)
    asyncio.get_running_loop().call_soon(_explode, quoted)  # in the loop itself, where no task catches it
    cause = ValueError(quoted)
    cause.add_note(quoted)
    raise RuntimeError(f"a defect with {quoted}") from cause


def _is_given(order: Path) -> bool:
    """Whether there is that order, which is then carried out."""
    if not order.exists():
        return False
    order.unlink()
    return True


def _explode(quoted: str) -> None:
    raise RuntimeError(f"a defect in the loop with {quoted}")


def _quoted(given: object) -> str:
    if isinstance(given, TokenRequest):
        return f"{given!r} {given.form(is_auth0=True)!r}"
    secret = given if isinstance(given, Secret) else getattr(given, "secret", None)
    return secret.reveal() if isinstance(secret, Secret) else repr(given)


def _main(directory: str, *arguments: str) -> int:
    """Do what `auth-agent` does with those arguments, with defects."""
    orders = Path(directory)

    def before(real: object) -> Any:
        return Defective(real, orders)

    def wrap(providers: Callable[[Account], Provider]) -> Callable[[Account], Provider]:
        return lambda account: before(providers(account))

    with mock.patch.object(daemon, "serve", partial(daemon.serve, wrap=wrap, wrap_store=before)):
        return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
