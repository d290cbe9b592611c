"""Traps: at a step of a refresh or a login that a test names, the agent is killed or held.

The test sets one in a file. In the agent that `launcher.py` runs with `trapped_providers` and `trapped_store`, each
step reads the file. A step has the name of a call, and the position in it:

| `refresh_token`, `authorization_code`, `device_code` | `:before` the token request; `:after` its token response |
| `keys`, `revoke` | `:before` the request; `:after` the response |
| `write` | `:before` the store has it; `:middle`, when the worker has it; `:after` it is saved |
| `note`, beside the store | `:before` it; `:middle`, before the rename; `:after` it is on the disk |
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar

import anyio

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.oauth.userinfo import SignedUserInfo
from auth_agent.secret import Secret
from auth_agent.storage.store import Store, StoreError

Result = TypeVar("Result")

# The environment variable with the file's path.
FILE = "TRAP_FILE"
# The launcher's options for traps.
WRAPS = ("--wrap", f"{__name__}:trapped_providers", "--wrap-store", f"{__name__}:trapped_store")
# Seconds, after which the request to the worker is in the worker's socket.
_HANDED_OVER = 0.2


@dataclass(frozen=True, slots=True)
class Trap:
    """What happens at a step: `kill`, as by a power cut; or `hold`, until the trap is removed.

    `passes`: at which pass of the step, counted from the first trap for it.
    """

    step: str
    action: Literal["kill", "hold"] = "kill"
    passes: int = 1


class TrapFile:
    """The file in which a test sets one trap at a time, and which the agent reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reached = path.with_name(f"{path.name}.reached")

    def set(self, trap: Trap) -> None:
        """Replace the trap."""
        self._reached.unlink(missing_ok=True)
        beside = self.path.with_name(f"{self.path.name}.beside")
        beside.write_text(json.dumps(asdict(trap)))
        beside.replace(self.path)

    def remove(self) -> None:
        """Remove the trap, and let the agent continue."""
        self.path.unlink(missing_ok=True)

    def get(self) -> Trap | None:
        """Return the trap that is set."""
        try:
            return Trap(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None

    def reach(self) -> None:
        """Record that the agent is held."""
        self._reached.touch()

    def is_reached(self) -> bool:
        """Return whether the agent is held."""
        return self._reached.exists()


# ---- in the agent

_file = TrapFile(Path(os.environ.get(FILE, os.devnull)))
_passes: Counter[str] = Counter()


def _trap_for(step: str) -> Trap | None:
    """Return the trap if it is for this pass of this step."""
    trap = _file.get()
    if trap is None or trap.step != step:
        return None
    _passes[step] += 1
    return trap if _passes[step] == trap.passes else None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _pass(step: str) -> None:
    trap = _trap_for(step)
    if trap is None:
        return
    if trap.action == "kill":
        _die()
    _file.reach()
    while _file.get() == trap:  # noqa: ASYNC110 -- a file has no event
        await anyio.sleep(0.01)


async def _call_between(call: str, work: Callable[[], Awaitable[Result]]) -> Result:
    await _pass(f"{call}:before")
    result = await work()
    await _pass(f"{call}:after")
    return result


class _TrappedProvider:
    """A provider, with traps around its requests."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def time(self, now: Moment) -> float | None:
        return self._provider.time(now)

    def look_again(self, *, older_than: float = 60.0) -> None:
        self._provider.look_again(older_than=older_than)

    async def discover(self) -> Metadata | Failure:
        return await self._provider.discover()

    async def keys(self) -> str | Failure:
        return await _call_between("keys", self._provider.keys)

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        call = request.grant_type.rpartition(":")[2]
        await _pass(f"{call}:before")
        outcome = await self._provider.token(client, request)
        if isinstance(outcome, TokenResponse):
            await _pass(f"{call}:after")
        return outcome

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | SignedUserInfo | Failure:
        return await self._provider.userinfo(access_token, token_type)

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        return await self._provider.user(access_token, token_type, url, update)

    async def begin_device(
        self, client: Client, scope: str, parameters: Mapping[str, str]
    ) -> DeviceAuthorization | Failure:
        return await self._provider.begin_device(client, scope, parameters)

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        return await _call_between("revoke", lambda: self._provider.revoke(client, refresh_token))


class _TrappedStore:
    """A store, with traps around its writes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.name = store.name
        self.persistent = store.persistent
        self.max_length = store.max_length
        self.expensive_writes = store.expensive_writes
        self.sealed = store.sealed

    @property
    def backend(self) -> str | None:
        return self._store.backend

    async def read(self, account: str) -> list[Secret]:
        return await self._store.read(account)

    async def write(self, account: str, entry: Secret) -> None:
        await _call_between("write", lambda: self._write(account, entry))

    async def _write(self, account: str, entry: Secret) -> None:
        failure: StoreError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass_the_middle)
            try:
                await self._store.write(account, entry)
            except StoreError as error:
                failure = error  # raised below: from here it would be in a group
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _pass_the_middle(self) -> None:
        await anyio.sleep(_HANDED_OVER)
        await _pass("write:middle")

    async def delete(self, account: str) -> bool:
        return await self._store.delete(account)

    async def unlock(self) -> None:
        await self._store.unlock()

    async def release(self) -> None:
        await self._store.release()


def trapped_providers(providers: Callable[[Account], Provider]) -> Callable[[Account], Provider]:
    """Wrap the providers with traps around their requests."""
    return lambda account: _TrappedProvider(providers(account))


def trapped_store(store: Store) -> Store:
    """Wrap the store with traps around its writes and those of its notes."""
    sys.addaudithook(_see_notes)
    return _TrappedStore(store)


def _see_notes(event: str, arguments: tuple[object, ...]) -> None:
    """Spring traps of notes: a note is written to a new file and renamed, and its directory opened for an fsync."""
    if event not in {"open", "os.rename"} or not isinstance(arguments[0], str | os.PathLike):
        return
    path = Path(arguments[0])  # pyright: ignore[reportUnknownArgumentType] -- of strings, or bytes, which no note has
    if event == "os.rename":
        step = "note:middle" if path.parent.name == "sessions" else None
    elif path.name == "sessions":
        step = "note:after"
    else:
        step = "note:before" if path.suffix == ".new" and path.parent.name == "sessions" else None
    if step is not None and _trap_for(step) is not None:
        _die()
