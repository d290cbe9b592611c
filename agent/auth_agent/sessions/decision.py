"""What a client demands of a session, and what is decided about it: plain values."""

from dataclasses import dataclass

from auth_agent.config import Account
from auth_agent.sessions.state import MAIN, AccessToken, Login, TokenKey
from auth_agent_client import errors


@dataclass(frozen=True, slots=True)
class Demand:
    """What a client asks for: good for `min_ttl` seconds (None: no demand, a wish), newer than that serial."""

    key: TokenKey = MAIN
    min_ttl: float | None = None
    newer_than: int | None = None


@dataclass(frozen=True, slots=True)
class Serve:
    """Here is the token."""

    token: AccessToken


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for the refresh in flight, for `patience` seconds at most (None: as long as the client does)."""

    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Start the refresh of that token and wait for it; a `driven` one counts against the connection's allowance."""

    driven: bool
    key: TokenKey = MAIN


Decision = Serve | Join | Start | errors.AgentError


@dataclass(frozen=True, slots=True)
class Job:
    """One refresh to do, of that login, for the token of that key, and the epoch that its result belongs to."""

    account: Account
    epoch: int
    login: Login
    key: TokenKey = MAIN
