"""`auth-agent status --check`: whether there are valid tokens, as an exit code, for scripts and monitoring."""

import time
from typing import Final

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.condition import Condition, condition
from auth_agent.cli.terminal import duration
from auth_agent.printable import printable
from auth_agent_client import Agent, Record
from auth_agent_client.errors import Locked, UnknownAccount
from auth_agent_client.messages import LOCKED, LOGGED_OUT, LOGIN_REQUIRED, READY

_CODES: Final = {
    LOGIN_REQUIRED: exits.LOGIN_REQUIRED,
    LOGGED_OUT: exits.LOGIN_REQUIRED,
    LOCKED: exits.DENIED,
}


def check_accounts(agent: Agent, account: str | None, min_ttl: float) -> int:
    """Whether that account, or each, has a token that is good for `min_ttl` seconds, as an exit code.

    Says on standard error why not, in a line an account.

    Raises:
        AgentError: the agent can't tell, or there is no such account.

    """
    records = agent.status(account).accounts
    if not records:
        exits.complain("there are no accounts yet", [remedies.begin()])
        return exits.LOGIN_REQUIRED
    return exits.worst({_check(agent, record, min_ttl) for record in records})


def _check(agent: Agent, record: Record, min_ttl: float) -> int:
    try:
        if agent.has_valid(record.account, min_ttl=min_ttl):
            return exits.OK
        records = agent.status(record.account).accounts
    except Locked as error:
        exits.complain(printable(error.message, 1000), error.remedy)
        return exits.DENIED
    except UnknownAccount:  # removed from the configuration meanwhile
        return exits.OK
    record = records[0] if records else record
    found = condition(record, time.time())
    why = f"{found.more}, and not for {duration(min_ttl)}" if record.state == READY else _shown(found)
    exits.complain(f"{printable(record.account)}: {why}", found.remedy)
    return _CODES.get(record.state, exits.UNAVAILABLE)


def _shown(found: Condition) -> str:
    return f"{found.words}: {found.problem}" if found.problem else found.words
