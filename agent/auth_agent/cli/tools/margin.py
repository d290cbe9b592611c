"""How long a tool may keep a token that it does not ask for again before each request."""

# A tool asks for another token no later than so many seconds before this one ends, so that it is valid on arrival.
_MARGIN = 60.0


def use_until(expires_at: float, now: float) -> float:
    """Return until when a token may be used that ends at `expires_at`, a minute or half of what is left before that.

    All are Unix times in seconds.
    """
    return expires_at - min(_MARGIN, max(expires_at - now, 0.0) / 2)
