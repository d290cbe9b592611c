"""`auth-agent status --check`: whether there are valid tokens, as an exit code, for scripts and monitoring."""

import time
from collections.abc import Mapping
from typing import Final

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.condition import Condition, condition
from auth_agent.cli.terminal import duration
from auth_agent.printable import printable
from auth_agent_client import Agent
from auth_agent_client.errors import Locked, UnknownAccount

_CODES: Final = {
    "login_required": exits.LOGIN_REQUIRED,
    "logged_out": exits.LOGIN_REQUIRED,
    "locked": exits.DENIED,
}


def check_accounts(agent: Agent, account: str | None, min_ttl: float) -> int:
    """Whether that account, or each, has a token that is good for `min_ttl` seconds, as an exit code.

    Says on standard error why not, in a line an account.

    Raises:
        AgentError: the agent can't tell, or there is no such account.

    """
    records = _records(agent.status(account))
    if not records:
        exits.complain("there are no accounts yet", [remedies.begin()])
        return exits.LOGIN_REQUIRED
    return exits.worst({_check(agent, record, min_ttl) for record in records})


def _check(agent: Agent, record: Mapping[str, object], min_ttl: float) -> int:
    name = str(record.get("account"))
    try:
        if agent.has_valid(name, min_ttl=min_ttl):
            return exits.OK
        records = _records(agent.status(name))
    except Locked as error:
        exits.complain(printable(error.message, 1000), error.remedy)
        return exits.DENIED
    except UnknownAccount:  # removed from the configuration meanwhile
        return exits.OK
    record = records[0] if records else record
    now = time.time()
    found = condition(record, now)
    exits.complain(f"{printable(name)}: {why_not(found, min_ttl)}", found.remedy)
    return _CODES.get(str(record.get("state")), exits.UNAVAILABLE)


def why_not(found: Condition, min_ttl: float) -> str:
    """Why an account in that condition has no token that is good for `min_ttl` seconds."""
    if found.words.startswith("ready"):
        return f"{found.more}, and not for {duration(min_ttl)}"
    return f"{found.words}: {found.problem}" if found.problem else found.words


def _records(told: Mapping[str, object]) -> list[Mapping[str, object]]:
    records = told.get("accounts")
    return [one for one in records if isinstance(one, Mapping)] if isinstance(records, list) else []  # pyright: ignore[reportUnknownVariableType] -- any list from the agent
