"""What would be lost if the agent ended now."""

from collections.abc import Mapping

from auth_agent_client import Status
from auth_agent_client.messages import LOGGED_OUT, LOGIN_REQUIRED

# In these there is no session, or none that a new login wouldn't replace anyway.
_NOTHING_TO_LOSE = (LOGGED_OUT, LOGIN_REQUIRED)


def accounts_at_stake(status: Mapping[str, object]) -> list[str]:
    """The accounts whose sessions are in the agent's memory and nowhere else, by what `status` says."""
    told = Status(status)
    forgets = told.agent.store.name == "memory"
    return [
        record.account
        for record in told.accounts
        if record.state != LOGGED_OUT and (not record.saved or (forgets and record.state not in _NOTHING_TO_LOSE))
    ]
