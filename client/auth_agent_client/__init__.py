"""Ask auth-agent for access tokens, and for who the user is.

    from auth_agent_client import Agent, LoginRequired
    with Agent() as agent:
        token = agent.token("work", min_ttl=120)
        profile = agent.profile("work")

Under asyncio and trio the same is asked with `async with AsyncAgent() as agent`, imported by itself:

    from auth_agent_client.aio import AsyncAgent

It alone needs anyio. All else imports the standard library and msgpack only, so that a program pays little for it.
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
from .login import Login
from .paths import socket_path
from .record import Record
from .remedy import Remedy
from .status import AgentStatus, ClientUsage, Hello, Reload, RestartRefusal, Status, StoreStatus

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentError",
    "AgentNotRunning",
    "AgentStatus",
    "ClientUsage",
    "ConnectionLost",
    "Denied",
    "Hello",
    "IDToken",
    "Internal",
    "InvalidRequest",
    "LifetimeTooShort",
    "Locked",
    "Login",
    "LoginRequired",
    "Logout",
    "Misconfigured",
    "Profile",
    "ProviderError",
    "Record",
    "Reload",
    "Remedy",
    "RestartRefusal",
    "Status",
    "StoreStatus",
    "Timeout",
    "Token",
    "Unavailable",
    "UnknownAccount",
    "UnknownMethod",
    "Unsupported",
    "UntrustedAgent",
    "__version__",
    "socket_path",
]
