"""The accounts' names for completion: from the agent, or from the configuration if no agent answers."""

import os
import signal
from types import FrameType

from auth_agent_client.client import Agent
from auth_agent_client.errors import AgentError
from auth_agent_client.messages import is_account_name

# Seconds. Nobody waits longer after pressing TAB.
_PATIENCE = 1.0


class _HangsError(Exception):
    pass


def account_names() -> list[str]:
    """Return the accounts' names; none if they can't be read."""
    try:
        names = _of_the_agent()
    except (AgentError, _HangsError):
        names = _of_the_configuration()
    return [name for name in names if is_account_name(name)]


def _of_the_agent() -> list[str]:
    signal.signal(signal.SIGALRM, _give_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})  # a parent may have left it blocked
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        with Agent() as agent:
            records = agent.call("status", {}).get("accounts")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return [str(record.get("account")) for record in records] if isinstance(records, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType] -- any list from the agent


def _give_up(_signum: int, _frame: FrameType | None) -> None:
    raise _HangsError


def _of_the_configuration() -> list[str]:
    import tomllib  # noqa: PLC0415 -- usually an agent runs

    from auth_agent.config_path import config_path  # noqa: PLC0415 -- as above

    try:
        path = config_path()
        if not os.path.isfile(path):  # noqa: PTH113 -- os is imported already
            return []
        with path.open("rb") as file:
            accounts = tomllib.load(file).get("accounts")
    except (AgentError, OSError, ValueError, RecursionError):  # ValueError: it is not valid TOML
        return []
    return list(accounts) if isinstance(accounts, dict) else []  # pyright: ignore[reportUnknownArgumentType] -- TOML's keys are strings
