"""The record of an account in `status` and `watch`."""

from .remedy import Remedy, remedies_from_wire
from .values import integer, number, string, strings


class Record(dict[str, object]):
    """The record of an account; never a token. Times are Unix time in seconds.

    It is the map that the agent sent: `record["state"]` works too, it has the fields that a newer agent adds, and
    `json.dumps` writes all of it. A property never raises: if a field is missing or has the wrong type, the property is
    None, or the default in its description.
    """

    __slots__ = ()

    @property
    def account(self) -> str:
        """The account's name; "" if the agent sent none."""
        return string(self.get("account")) or ""

    @property
    def issuer(self) -> str | None:
        """The issuer of the session, or of the configuration if there is no session."""
        return string(self.get("issuer"))

    @property
    def subject(self) -> str | None:
        """The subject identifier of the user who is logged in (`sub`)."""
        return string(self.get("subject"))

    @property
    def name(self) -> str | None:
        """A name for display of the user who is logged in."""
        return string(self.get("name"))

    @property
    def state(self) -> str:
        """One of `messages.STATES`, or a newer agent's state; "" if the agent sent none."""
        return string(self.get("state")) or ""

    @property
    def renewal(self) -> str:
        """One of `messages.RENEWALS`, or a newer agent's word; "" if the agent sent none."""
        return string(self.get("renewal")) or ""

    @property
    def saved(self) -> bool:
        """False while the session in memory is not saved in the store; else true."""
        return self.get("saved") is not False

    @property
    def reason(self) -> str | None:
        """What is wrong: a word, or a sentence that may quote the provider; None if nothing is."""
        return string(self.get("reason"))

    @property
    def failure(self) -> str | None:
        """The kind of failure, one of `messages.FAILURES`; None if nothing failed."""
        return string(self.get("failure"))

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps, the most likely first."""
        return remedies_from_wire(self.get("remedy"))

    @property
    def expires_at(self) -> float | None:
        """When the access token expires; None if there is none, or it has no known end (in the state `ready`)."""
        return number(self.get("expires_at"))

    @property
    def lifetime_assumed(self) -> bool:
        """Whether `expires_at` is an assumption because the provider sent no `expires_in`."""
        return self.get("lifetime_assumed") is True

    @property
    def refresh_at(self) -> float | None:
        """When the next refresh is due; None if none is."""
        return number(self.get("refresh_at"))

    @property
    def last_refresh_at(self) -> float | None:
        """When the last refresh was; None if there was none."""
        return number(self.get("last_refresh_at"))

    @property
    def refreshes(self) -> int:
        """How many refreshes the session has had; 0 if the agent sent no number."""
        return integer(self.get("refreshes")) or 0

    @property
    def missing(self) -> tuple[str, ...]:
        """What the provider did not give: of `messages.MISSING`, or a newer agent's words."""
        return strings(self.get("missing"))

    @property
    def acr(self) -> str | None:
        """How the person logged in, by the ID token (`acr`); None if it doesn't say."""
        return string(self.get("acr"))

    @property
    def session_ends_at(self) -> float | None:
        """When the provider ends the session, despite refreshes unless `session_end_moves`; None if not known."""
        return number(self.get("session_ends_at"))

    @property
    def session_end_moves(self) -> bool:
        """Whether the next refresh moves `session_ends_at`, as far as is known."""
        return self.get("session_end_moves") is True

    @property
    def refresh_ends_access_token(self) -> bool:
        """Whether a refresh ends the access token from before, as far as is known."""
        return self.get("refresh_ends_access_token") is True

    @property
    def epoch(self) -> int:
        """A number that changes at login, import and logout; 0 if the agent sent none."""
        return integer(self.get("epoch")) or 0

    @property
    def revision(self) -> int:
        """A number that changes with the record, until the agent ends; 0 if the agent sent none."""
        return integer(self.get("revision")) or 0
