"""What would be lost if the agent ended now."""

from collections.abc import Mapping

from auth_agent_client import Status, StoreStatus
from auth_agent_client.messages import LOGGED_OUT, LOGIN_REQUIRED

# In these there is no session, or none that a new login wouldn't replace anyway.
_NOTHING_TO_LOSE = (LOGGED_OUT, LOGIN_REQUIRED)


def accounts_at_stake(status: Mapping[str, object]) -> list[str]:
    """The accounts whose sessions are in the agent's memory and nowhere else, by what `status` says."""
    told = Status(status)
    persistent = is_persistent(told.agent.store)
    return [
        record.account
        for record in told.accounts
        if record.state != LOGGED_OUT
        and (not record.saved or (not persistent and record.state not in _NOTHING_TO_LOSE))
    ]


def is_persistent(store: Mapping[str, object]) -> bool:
    """Whether the store that `status` tells of outlives the agent. Of an older agent's only the name says that."""
    status = StoreStatus(store)
    return status.name != "memory" if status.persistent is None else status.persistent
