"""The sessions that would be lost if the agent ended now."""

from collections.abc import Mapping

from auth_agent_client import Status, StoreStatus
from auth_agent_client.messages import LOGGED_OUT, LOGIN_REQUIRED

# In these states there is no session, or one that needs a new login anyway.
_NOTHING_TO_LOSE = (LOGGED_OUT, LOGIN_REQUIRED)


def accounts_at_stake(status: Mapping[str, object]) -> list[str]:
    """Return the accounts whose sessions are only in the agent's memory, from the result of `status`."""
    result = Status(status)
    persistent = is_persistent(result.agent.store)
    return [
        record.account
        for record in result.accounts
        if record.state != LOGGED_OUT
        and (not record.saved or (not persistent and record.state not in _NOTHING_TO_LOSE))
    ]


def is_persistent(store: Mapping[str, object]) -> bool:
    """Return whether the store outlives the agent; an older agent's status says so only by the store's name."""
    status = StoreStatus(store)
    return status.name != "memory" if status.persistent is None else status.persistent
