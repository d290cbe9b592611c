"""Accounts by the thousand: their configuration, and sessions that the product's own code stores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from auth_agent.host.clock import Clock, Moment
from auth_agent.host.machine import machine_digest
from auth_agent.secret import Secret
from auth_agent.sessions.entry import StoredSession, dump
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, Idle
from auth_agent.storage.sealed_file import SealedFileStore
from auth_agent.worker import sealed_files

PASSPHRASE: Final = "correct horse battery staple"
CLIENT_ID: Final = "native-app"
# Nobody listens there: these sessions need no refresh while they are measured.
ISSUER: Final = "http://127.0.0.1:9/"
# The length of a usual JWT, in characters.
TOKEN_LENGTH: Final = 1024
DAY: Final = 86_400.0  # s


def names(count: int) -> list[str]:
    """Return the names of that many accounts."""
    return [f"account-{number}" for number in range(count)]


def configuration(accounts: Sequence[str], issuer: str = ISSUER, keys: str = "") -> str:
    """Return a configuration with those accounts, each with further `keys` in TOML."""
    return "".join(f'[accounts.{name}]\nissuer = "{issuer}"\nclient_id = "{CLIENT_ID}"\n{keys}\n' for name in accounts)


def access_token(account: str) -> str:
    """Return the access token of that account's session."""
    return f"{account}.".ljust(TOKEN_LENGTH, "x")


def stored_session(account: str, now: Moment, lifetime: float = DAY) -> StoredSession:
    """Return a session that has just begun, as a store has it; its token is valid for `lifetime` seconds."""
    token = AccessToken(Secret(access_token(account)), "Bearer", None, None, now, lifetime, assumed=False, serial=0)
    credentials = Credentials(
        issuer=ISSUER,
        client_id=CLIENT_ID,
        audience=None,
        subject=f"auth0|{account}",
        name=None,
        refresh_token=Secret(f"v1.{account}"),
        id_token=None,
    )
    state = Active(credentials, {MAIN: token}, Idle())
    return StoredSession(state, epoch=1, refreshes=0, last_refresh_at=now.wall, machine=machine_digest())


def seal(state: Path, accounts: Sequence[str]) -> None:
    """Make a sealed file with a session of each account in that state directory; `PASSPHRASE` opens it."""
    clock = Clock()
    opened = str(sealed_files.unlock(str(state), PASSPHRASE)["opened"])
    for name in accounts:
        entry = dump(name, stored_session(name, clock.now()), clock.boot_id(), SealedFileStore.max_length)
        sealed_files.write(str(state), opened, name, entry.reveal())
