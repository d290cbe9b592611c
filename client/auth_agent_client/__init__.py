"""Get access tokens and the user's profile from auth-agent.

    from auth_agent_client import Agent, LoginRequired
    with Agent() as agent:
        token = agent.token("work", min_ttl=120)
        profile = agent.profile("work")

For asyncio and trio there is `async with AsyncAgent() as agent`:

    from auth_agent_client.aio import AsyncAgent

Only that module needs anyio. The others import only the standard library and msgpack, and load fast.
"""

from .client import Agent, IDToken, Logout, Profile, Token
from .errors import (
    AgentError,
    AgentNotRunning,
    ConnectionLost,
    Denied,
    Internal,
    InvalidRequest,
    LifetimeTooShort,
    Locked,
    LoginRequired,
    Misconfigured,
    ProviderError,
    Timeout,
    Unavailable,
    UnknownAccount,
    UnknownMethod,
    Unsupported,
    UntrustedAgent,
)
from .lock import Lock, SessionEnd, Unlock
from .login import Login
from .paths import socket_path
from .record import Record
from .remedy import Remedy
from .status import (
    AgentStatus,
    ClientUsage,
    FileStatus,
    Hello,
    LockStatus,
    Problem,
    Reload,
    RestartRefusal,
    Status,
    StoreStatus,
)
from .store_move import StoreMove

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentError",
    "AgentNotRunning",
    "AgentStatus",
    "ClientUsage",
    "ConnectionLost",
    "Denied",
    "FileStatus",
    "Hello",
    "IDToken",
    "Internal",
    "InvalidRequest",
    "LifetimeTooShort",
    "Lock",
    "LockStatus",
    "Locked",
    "Login",
    "LoginRequired",
    "Logout",
    "Misconfigured",
    "Problem",
    "Profile",
    "ProviderError",
    "Record",
    "Reload",
    "Remedy",
    "RestartRefusal",
    "SessionEnd",
    "Status",
    "StoreMove",
    "StoreStatus",
    "Timeout",
    "Token",
    "Unavailable",
    "UnknownAccount",
    "UnknownMethod",
    "Unlock",
    "Unsupported",
    "UntrustedAgent",
    "__version__",
    "socket_path",
]
