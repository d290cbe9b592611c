"""`auth-agent status --check`: an exit code that says whether there are valid tokens, for scripts and monitoring."""

import time
from typing import Final

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.condition import Condition, condition_of
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
    """Return 0 if the account, or each account, has a token that is valid for `min_ttl` seconds, else another code.

    Prints one line to standard error for each account that has none, with the reason.

    Raises:
        AgentError: the agent can't answer, or there is no such account.

    """
    records = agent.status(account).accounts
    if not records:
        exits.print_error("there are no accounts yet", [remedies.begin()])
        return exits.LOGIN_REQUIRED
    return exits.worst({_check(agent, record, min_ttl) for record in records})


def _check(agent: Agent, record: Record, min_ttl: float) -> int:
    try:
        if agent.has_valid(record.account, min_ttl=min_ttl):
            return exits.OK
        records = agent.status(record.account).accounts
    except Locked as error:
        exits.print_error(printable(error.message, 1000), error.remedy)
        return exits.DENIED
    except UnknownAccount:  # removed from the configuration meanwhile
        return exits.OK
    record = records[0] if records else record
    condition = condition_of(record, time.time())
    reason = f"{condition.more}, less than {duration(min_ttl)}" if record.state == READY else _sentence(condition)
    exits.print_error(f"{printable(record.account)}: {reason}", condition.remedy)
    return _CODES.get(record.state, exits.UNAVAILABLE)


def _sentence(condition: Condition) -> str:
    return f"{condition.words}: {condition.problem}" if condition.problem else condition.words
