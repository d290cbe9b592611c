"""What a provider tells of a user, as clients get it."""

from collections.abc import Mapping

from .errors import Internal

# How some providers write what is to be true or false.
_TRUTHS: dict[object, bool] = {"true": True, "false": False}


class Profile:
    """What the provider says of the user: its UserInfo (OpenID Connect Core 1.0, section 5.3).

    `claims` has all of it as it came, custom claims too; the properties are the standard ones of these, None where
    the provider didn't tell, or told something else than the standard has there. `fetched_at` is Unix time in
    seconds: when the provider was asked. Where it is `stale`, the provider could not be asked again in time: these are
    the claims from then; or, where it never could be, those of the ID token, and `fetched_at` is when that was issued.
    """

    __slots__ = ("account", "claims", "fetched_at", "stale")

    def __init__(self, account: str, claims: dict[str, object], fetched_at: float, *, stale: bool) -> None:
        self.account = account
        self.claims = claims
        self.fetched_at = fetched_at
        self.stale = stale

    @property
    def sub(self) -> str | None:
        """Who the user is at that provider: the one claim that never changes."""
        return self._text("sub")

    @property
    def name(self) -> str | None:
        """The full name, as it is to be shown."""
        return self._text("name")

    @property
    def given_name(self) -> str | None:
        """The first name, or names."""
        return self._text("given_name")

    @property
    def family_name(self) -> str | None:
        """The last name, or names."""
        return self._text("family_name")

    @property
    def nickname(self) -> str | None:
        """What the user is called casually."""
        return self._text("nickname")

    @property
    def email(self) -> str | None:
        """The address of the user's mail; `email_verified` says whether it is known to be the user's."""
        return self._text("email")

    @property
    def email_verified(self) -> bool | None:
        """Whether the provider has made sure that the mail address is the user's."""
        told = self.claims.get("email_verified")
        if isinstance(told, bool):
            return told
        return _TRUTHS.get(told) if isinstance(told, str) else None

    @property
    def picture(self) -> str | None:
        """The address of a picture of the user."""
        return self._text("picture")

    @property
    def updated_at(self) -> float | None:
        """When the provider last changed what it knows, as Unix time in seconds.

        So the standard has it. Where the claim is a date and time in ISO 8601, as at Auth0, that is made such a number.
        """
        told = self.claims.get("updated_at")
        if isinstance(told, (int, float)) and not isinstance(told, bool):
            # A NaN equals nothing, and an infinity is no time.
            return float(told) if told == told and abs(told) < _NO_TIME else None  # noqa: PLR0124 -- as said
        return _unix_time(told) if isinstance(told, str) else None

    def _text(self, name: str) -> str | None:
        told = self.claims.get(name)
        return told if isinstance(told, str) else None

    def __repr__(self) -> str:
        return f"Profile(account={self.account!r}, sub={self.sub!r}, claims=…, stale={self.stale!r})"


# Beyond every date there is a name for.
_NO_TIME = 1e12


def _unix_time(text: str) -> float | None:
    """The time that an ISO 8601 text says, which is UTC where it says no zone; None: it says none."""
    from datetime import UTC, datetime  # noqa: PLC0415 -- few programs ask for it, and all would pay

    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def profile_from(result: Mapping[str, object]) -> Profile:
    """The profile in the result of `profile`. Raises `Internal` where there is none."""
    account, fetched_at = result.get("account"), result.get("fetched_at")
    if not (isinstance(account, str) and isinstance(fetched_at, (int, float))):
        raise Internal("the agent answered with no profile")
    return Profile(account, map_from(result, "claims"), float(fetched_at), stale=result.get("stale") is True)


def map_from(result: Mapping[str, object], name: str) -> dict[str, object]:
    """The map of that name in a result. Raises `Internal` where there is none."""
    found = result.get(name)
    if not isinstance(found, dict):
        raise Internal(f"the agent answered with no {name}")
    return found  # pyright: ignore[reportUnknownVariableType] -- the wire's keys are texts
