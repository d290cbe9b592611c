"""What an agent says of itself, and of its accounts: maps as they were sent, read by properties as a `Record` is."""

from .record import Record
from .remedy import Remedy, remedies_from_wire
from .values import integer, mapping, mappings, number, string, strings


class AgentIdentity(dict[str, object]):
    """Which agent it is."""

    __slots__ = ()

    @property
    def pid(self) -> int | None:
        """Its process."""
        return integer(self.get("pid"))

    @property
    def agent_id(self) -> str | None:
        """Its name for itself, new at each start and restart."""
        return string(self.get("agent_id"))

    @property
    def version(self) -> str | None:
        """Its version."""
        return string(self.get("version"))


class Hello(AgentIdentity):
    """Which agent answers, and what it can do."""

    __slots__ = ()

    @property
    def protocol(self) -> int | None:
        """The protocol's version."""
        return integer(self.get("protocol"))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the methods that it has."""
        return strings(self.get("features"))


class StoreStatus(dict[str, object]):
    """Where the agent keeps sessions, and how that is doing."""

    __slots__ = ()

    @property
    def name(self) -> str | None:
        """Which store it is, such as "keyring" or "memory"."""
        return string(self.get("name"))

    @property
    def backend(self) -> str | None:
        """What the store uses, such as the class of a keyring; None where there is nothing to choose."""
        return string(self.get("backend"))

    @property
    def state(self) -> str | None:
        """`ready`, `locked`, `missing` or `failing`."""
        return string(self.get("state"))

    @property
    def problem(self) -> str | None:
        """What is wrong with it; None where nothing is."""
        return string(self.get("problem"))

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps, the most likely first."""
        return remedies_from_wire(self.get("remedy"))

    @property
    def unread(self) -> int:
        """How many sessions are still to be read from it."""
        return integer(self.get("unread")) or 0

    @property
    def unsaved(self) -> int:
        """How many sessions are still to be written to it."""
        return integer(self.get("unsaved")) or 0

    @property
    def takes_passphrase(self) -> bool:
        """Whether a passphrase of auth-agent's unlocks it, by `Agent.unlock`."""
        return self.get("takes_passphrase") is True

    @property
    def new(self) -> bool:
        """Whether it takes a passphrase, and the first one makes it."""
        return self.get("new") is True

    @property
    def persistent(self) -> bool | None:
        """Whether sessions outlive the agent in it; None where an older agent doesn't say."""
        value = self.get("persistent")
        return value if isinstance(value, bool) else None


class Problem(dict[str, object]):
    """Something is wrong with the agent."""

    __slots__ = ()

    @property
    def reason(self) -> str | None:
        """Why."""
        return string(self.get("reason"))

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps, the most likely first."""
        return remedies_from_wire(self.get("remedy"))


class RestartRefusal(Problem):
    """An agent was asked to restart, and did not."""

    __slots__ = ()

    @property
    def at(self) -> float | None:
        """When, as Unix time in seconds."""
        return number(self.get("at"))


class FileStatus(dict[str, object]):
    """A file that the agent keeps a token in."""

    __slots__ = ()

    @property
    def path(self) -> str | None:
        """Its absolute path."""
        return string(self.get("path"))

    @property
    def account(self) -> str | None:
        """The account whose token it is."""
        return string(self.get("account"))

    @property
    def kind(self) -> str | None:
        """`access` or `id`."""
        return string(self.get("kind"))

    @property
    def present(self) -> bool:
        """Whether it holds a token."""
        return self.get("present") is True

    @property
    def expires_at(self) -> float | None:
        """Until when the token in it may be used, as Unix time; None if there is none, or that is not known."""
        return number(self.get("expires_at"))

    @property
    def changed_at(self) -> float | None:
        """When this agent wrote or removed it last, as Unix time; None if it didn't."""
        return number(self.get("changed_at"))

    @property
    def failure(self) -> str | None:
        """The kind of failure, one of `messages.FAILURES`; None if there is none, or it is not known."""
        return string(self.get("failure"))

    @property
    def reason(self) -> str | None:
        """Why it is not as it should be; None if it is."""
        return string(self.get("reason"))

    @property
    def remedy(self) -> tuple[Remedy, ...]:
        """What helps, the most likely first."""
        return remedies_from_wire(self.get("remedy"))


class LockStatus(dict[str, object]):
    """How the agent is locked."""

    __slots__ = ()

    @property
    def takes_passphrase(self) -> bool:
        """Whether a passphrase unlocks it."""
        return self.get("takes_passphrase") is True

    @property
    def keep_alive(self) -> bool:
        """Whether it goes on refreshing sessions."""
        return self.get("keep_alive") is True

    @property
    def pending(self) -> tuple[str, ...]:
        """The accounts whose secrets are still in memory, until the store has their sessions."""
        return strings(self.get("pending"))


class AgentStatus(AgentIdentity):
    """The agent itself."""

    __slots__ = ()

    @property
    def started_at(self) -> float | None:
        """When it began, as Unix time in seconds."""
        return number(self.get("started_at"))

    @property
    def socket(self) -> str | None:
        """The path of the socket at which it listens."""
        return string(self.get("socket"))

    @property
    def config(self) -> str | None:
        """The path of the configuration that it reads."""
        return string(self.get("config"))

    @property
    def config_digest(self) -> str | None:
        """The SHA-256 of the configuration as the agent has read it, in hexadecimal; "" if there was no file."""
        return string(self.get("config_digest"))

    @property
    def default(self) -> str | None:
        """The account that may be left out; None where each has to be named."""
        return string(self.get("default"))

    @property
    def store(self) -> StoreStatus:
        """Where it keeps sessions."""
        return StoreStatus(mapping(self.get("store")))

    @property
    def locked(self) -> bool:
        """Whether the agent is locked."""
        return self.get("locked") is True

    @property
    def lock(self) -> LockStatus | None:
        """How it is locked; None if it isn't."""
        lock = mapping(self.get("lock"))
        return LockStatus(lock) if lock else None

    @property
    def files(self) -> list[FileStatus]:
        """The files that it keeps tokens in, of all accounts or of the one that was asked for."""
        return [FileStatus(file) for file in mappings(self.get("files"))]

    @property
    def socket_problem(self) -> Problem | None:
        """What is wrong with the socket at which it listens; None if nothing is."""
        problem = mapping(self.get("socket_problem"))
        return Problem(problem) if problem else None

    @property
    def restart_refused(self) -> RestartRefusal | None:
        """The last restart that it refused; None where it has refused none."""
        refused = mapping(self.get("restart_refused"))
        return RestartRefusal(refused) if refused else None


class ClientUsage(dict[str, object]):
    """What one program took of one account. What it is called is its own word, and proves nothing."""

    __slots__ = ()

    @property
    def account(self) -> str | None:
        """The account's name."""
        return string(self.get("account"))

    @property
    def program(self) -> str | None:
        """The program's name; None where it is not known."""
        return string(self.get("program"))

    @property
    def executable(self) -> str | None:
        """The path of its file, or of its interpreter's; None where it is not known."""
        return string(self.get("executable"))

    @property
    def unit(self) -> str | None:
        """Its systemd unit, a `*` in place of what differs from run to run; None where it has none."""
        return string(self.get("unit"))

    @property
    def pid(self) -> int | None:
        """The process that took something last; 0 for one that the agent can't see, as in another container."""
        return integer(self.get("pid"))

    @property
    def methods(self) -> dict[str, int]:
        """How often, by the methods that it called."""
        counts = {name: integer(count) for name, count in mapping(self.get("methods")).items()}
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def last_at(self) -> float | None:
        """When it took something last, as Unix time in seconds."""
        return number(self.get("last_at"))


class Status(dict[str, object]):
    """What the agent is, and the records of its accounts."""

    __slots__ = ()

    @property
    def agent(self) -> AgentStatus:
        """The agent itself."""
        return AgentStatus(mapping(self.get("agent")))

    @property
    def accounts(self) -> list[Record]:
        """The record of each account, in the configuration's order; or of the one that was asked for."""
        return [Record(record) for record in mappings(self.get("accounts"))]

    @property
    def clients(self) -> list[ClientUsage]:
        """What each program took of each account, the latest first; empty where that was not asked for."""
        return [ClientUsage(client) for client in mappings(self.get("clients"))]


class Reload(dict[str, object]):
    """What was different when the agent read its configuration again: names of accounts."""

    __slots__ = ()

    @property
    def added(self) -> tuple[str, ...]:
        """Those that are new."""
        return strings(self.get("added"))

    @property
    def changed(self) -> tuple[str, ...]:
        """Those whose keys are others now."""
        return strings(self.get("changed"))

    @property
    def removed(self) -> tuple[str, ...]:
        """Those that are no longer there."""
        return strings(self.get("removed"))
