"""How an account's session is doing, as `status` and `watch` say it."""

from .remedy import Remedy, remedies_from_wire
from .values import integer, number, string


class Record(dict[str, object]):
    """The record of an account; never a token. Times are Unix time in seconds.

    It is the map that the agent sent: `record["state"]` works too, what a newer agent adds is there by its name, and
    `json.dumps` writes all of it. A property never raises: a field that is missing, or of another type than the
    protocol's, reads as None, or as what the property says.
    """

    __slots__ = ()

    @property
    def account(self) -> str:
        """The account's name; "" where the agent gave none."""
        return string(self.get("account")) or ""

    @property
    def issuer(self) -> str | None:
        """The provider: the session's, or the configuration's where there is no session."""
        return string(self.get("issuer"))

    @property
    def subject(self) -> str | None:
        """Who is logged in, as the provider identifies its users."""
        return string(self.get("subject"))

    @property
    def name(self) -> str | None:
        """Who is logged in, as people know them."""
        return string(self.get("name"))

    @property
    def state(self) -> str:
        """A word of `messages.STATES`, or a newer agent's; "" where the agent gave none."""
        return string(self.get("state")) or ""

    @property
    def renewal(self) -> str:
        """A word of `messages.RENEWALS`, or a newer agent's; "" where the agent gave none."""
        return string(self.get("renewal")) or ""

    @property
    def saved(self) -> bool:
        """False while the store lacks what the agent holds; else true."""
        return self.get("saved") is not False

    @property
    def reason(self) -> str | None:
        """What is wrong, in a word or a sentence that may quote the provider; None where nothing is."""
        return string(self.get("reason"))

    @property
    def failure(self) -> str | None:
        """What kind of failure that is: a word of `messages.FAILURES`; None where nothing failed."""
        return string(self.get("failure"))

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps, the most likely first."""
        return remedies_from_wire(self.get("remedy"))

    @property
    def expires_at(self) -> float | None:
        """When the access token expires; None where there is none."""
        return number(self.get("expires_at"))

    @property
    def lifetime_assumed(self) -> bool:
        """Whether `expires_at` is the agent's assumption: the provider gave no lifetime."""
        return self.get("lifetime_assumed") is True

    @property
    def refresh_at(self) -> float | None:
        """When the next refresh is due; None where none is."""
        return number(self.get("refresh_at"))

    @property
    def last_refresh_at(self) -> float | None:
        """When the last refresh was; None where there was none."""
        return number(self.get("last_refresh_at"))

    @property
    def refreshes(self) -> int:
        """How many refreshes the session has had; 0 where the agent doesn't say."""
        return integer(self.get("refreshes")) or 0

    @property
    def session_ends_at(self) -> float | None:
        """When the provider ends the session, whatever is refreshed; None where that is not known."""
        return number(self.get("session_ends_at"))

    @property
    def epoch(self) -> int:
        """A number that changes at login, import and logout; 0 where the agent doesn't say."""
        return integer(self.get("epoch")) or 0

    @property
    def revision(self) -> int:
        """A number that changes whenever the record does; an agent's own. 0 where the agent doesn't say."""
        return integer(self.get("revision")) or 0
