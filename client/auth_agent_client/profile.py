"""The profile of a user."""

from collections.abc import Mapping

from .errors import Internal

# Some providers send booleans as strings.
_TRUTHS: dict[object, bool] = {"true": True, "false": False}


class Profile:
    """What the provider says of the user: its UserInfo (OpenID Connect Core 1.0, section 5.3).

    `claims` has all claims unchanged, also custom ones. The properties are the standard claims, None if the provider
    sent none or one of another type. `fetched_at` is Unix time in seconds: when the provider sent the claims. `stale`
    means that the provider could not be reached: the claims are old, or those of the ID token if there are no others,
    and `fetched_at` is when that was issued.
    """

    __slots__ = ("account", "claims", "fetched_at", "stale")

    def __init__(self, account: str, claims: dict[str, object], fetched_at: float, *, stale: bool) -> None:
        self.account = account
        self.claims = claims
        self.fetched_at = fetched_at
        self.stale = stale

    @property
    def sub(self) -> str | None:
        """The user's identifier at the provider, which never changes."""
        return self._string("sub")

    @property
    def name(self) -> str | None:
        """The full name, for display."""
        return self._string("name")

    @property
    def given_name(self) -> str | None:
        """The given names."""
        return self._string("given_name")

    @property
    def family_name(self) -> str | None:
        """The surnames."""
        return self._string("family_name")

    @property
    def nickname(self) -> str | None:
        """The casual name."""
        return self._string("nickname")

    @property
    def email(self) -> str | None:
        """The email address; see `email_verified`."""
        return self._string("email")

    @property
    def email_verified(self) -> bool | None:
        """Whether the provider has verified that the user controls the email address."""
        value = self.claims.get("email_verified")
        if isinstance(value, bool):
            return value
        return _TRUTHS.get(value) if isinstance(value, str) else None

    @property
    def picture(self) -> str | None:
        """The URL of a picture of the user."""
        return self._string("picture")

    @property
    def updated_at(self) -> float | None:
        """When the user's data last changed, as Unix time in seconds.

        The standard has a number. A date and time in ISO 8601, as Auth0 sends it, is converted.
        """
        value = self.claims.get("updated_at")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # False for a NaN and for an infinity.
            return float(value) if value == value and abs(value) < _NO_TIME else None  # noqa: PLR0124 -- a NaN is not equal to itself
        return _unix_time(value) if isinstance(value, str) else None

    def _string(self, name: str) -> str | None:
        value = self.claims.get(name)
        return value if isinstance(value, str) else None

    def __repr__(self) -> str:
        return f"Profile(account={self.account!r}, sub={self.sub!r}, claims=…, stale={self.stale!r})"


# Seconds. Beyond the range of datetime.
_NO_TIME = 1e12


def _unix_time(string: str) -> float | None:
    """Parse a date and time in ISO 8601, in UTC if it has no zone; return None if it is not one."""
    from datetime import UTC, datetime  # noqa: PLC0415 -- few programs need it, and it would slow down the start of all

    try:
        moment = datetime.fromisoformat(string)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def profile_from(result: Mapping[str, object]) -> Profile:
    """Return the profile from the result of `profile`. Raises `Internal` if it is not one."""
    account, fetched_at = result.get("account"), result.get("fetched_at")
    if not (isinstance(account, str) and isinstance(fetched_at, (int, float))):
        raise Internal("the result of profile is not a profile")
    return Profile(account, map_from(result, "claims"), float(fetched_at), stale=result.get("stale") is True)


def map_from(result: Mapping[str, object], name: str) -> dict[str, object]:
    """Return a map in a result by its name. Raises `Internal` if it is not a map."""
    value = result.get(name)
    if not isinstance(value, dict):
        raise Internal(f"the agent sent no map {name}")
    return value  # pyright: ignore[reportUnknownVariableType] -- the wire accepts only strings as keys
