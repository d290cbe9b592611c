"""The agent with defects that a test requests: `python defective.py DIRECTORY run`, and the other commands.

A file in that directory, named as a method of the provider or the store (a token request by its grant, such as
`refresh_token`), makes the next such call raise an unexpected exception, whose text quotes all arguments of the call.
"""

import asyncio
import inspect
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
from auth_agent.oauth.resource import AUDIENCE
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret


class Defective:
    """A proxy of an object, with defects."""

    def __init__(self, real: object, orders: Path) -> None:
        self._real = real
        self._orders = orders

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._real, name)
        is_call = inspect.iscoroutinefunction(attribute)
        return partial(_raise, attribute, self._orders, name) if is_call else attribute


async def _raise(call: Callable[..., Any], orders: Path, name: str, *arguments: object) -> Any:
    grants = [argument.grant_type.rpartition(":")[2] for argument in arguments if isinstance(argument, TokenRequest)]
    if not _is_requested(orders / (grants[0] if grants else name)):
        return await call(*arguments)
    quoted = " ".join(_quoted(argument) for argument in arguments)
    asyncio.get_running_loop().call_soon(_explode, quoted)  # in the event loop itself, where no task catches it
    cause = ValueError(quoted)
    cause.add_note(quoted)
    raise RuntimeError(f"a defect with {quoted}") from cause


def _is_requested(request: Path) -> bool:
    """Return whether that defect is requested, and delete the request."""
    if not request.exists():
        return False
    request.unlink()
    return True


def _explode(quoted: str) -> None:
    raise RuntimeError(f"a defect in the loop with {quoted}")


def _quoted(argument: object) -> str:
    if isinstance(argument, TokenRequest):
        return f"{argument!r} {argument.form((AUDIENCE,))!r}"
    secret = argument if isinstance(argument, Secret) else getattr(argument, "secret", None)
    return secret.reveal() if isinstance(secret, Secret) else repr(argument)


def _main(directory: str, *arguments: str) -> int:
    """Run `auth-agent` with those arguments and with defects."""
    orders = Path(directory)

    def before(real: object) -> Any:
        return Defective(real, orders)

    def wrap(providers: Callable[[Account], Provider]) -> Callable[[Account], Provider]:
        return lambda account: before(providers(account))

    with mock.patch.object(daemon, "serve", partial(daemon.serve, wrap=wrap, wrap_store=before)):
        return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
