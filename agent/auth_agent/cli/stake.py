"""What would be lost if the agent ended now."""

from collections.abc import Mapping

# In these there is no session, or none that a new login wouldn't replace anyway.
_NOTHING_TO_LOSE = ("logged_out", "login_required")


def accounts_at_stake(status: Mapping[str, object]) -> list[str]:
    """The accounts whose sessions are in the agent's memory and nowhere else, by what `status` says."""
    forgets = _map(_map(status.get("agent")).get("store")).get("name") == "memory"
    records = status.get("accounts")
    return [
        str(record.get("account"))
        for record in map(_map, records if isinstance(records, list) else ())  # pyright: ignore[reportUnknownArgumentType] -- any list from the agent
        if record.get("state") != "logged_out"
        and (record.get("saved") is False or (forgets and record.get("state") not in _NOTHING_TO_LOSE))
    ]


def _map(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- any map from the agent
