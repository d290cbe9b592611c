"""How a login goes on after a failure that may pass: a person who has logged in should not have to do it again.

A code that may have been received is never sent twice: a provider that sees one again refuses it, and should revoke
what it issued for it (RFC 6749, section 4.1.2). A key set may be requested at any time.
"""

from typing import Final

from auth_agent.oauth.outcome import Busy, Defect, Failure, Overloaded, Transient, Unsent

# Seconds. Codes live for a minute or a few (RFC 6749, section 4.1.2, has ten minutes at most).
CODE_PATIENCE: Final = 10.0
KEYS_PATIENCE: Final = 30.0
# Seconds before the second attempt, and at most between two attempts.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 4.0


def is_unprocessed(failure: object) -> bool:
    """Return whether the provider has not processed that request, so that the same one may be sent again."""
    return isinstance(failure, Unsent | Overloaded) and failure.refresh_token is None


def may_pass(failure: Failure | None) -> bool:
    """Return whether a request that changes nothing may succeed later."""
    return isinstance(failure, Transient) and not isinstance(failure, Defect)


def pause_after(failure: Failure, attempts: int, left: float) -> float | None:
    """Return the seconds to wait before the next attempt; None if there is no time for one.

    Args:
        failure: the last outcome; no attempt is made before its `Retry-After`.
        attempts: how many there have been.
        left: seconds until the login is given up.

    """
    wanted = failure.retry_after if isinstance(failure, Busy) else None
    if left <= 0 or (wanted or 0.0) > left:
        return None
    return max(wanted or 0.0, min(_FIRST_PAUSE * 2.0 ** min(attempts - 1, 10), _LONGEST_PAUSE, left))
