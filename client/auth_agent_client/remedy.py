"""Remedies: what helps if something is wrong, as a sentence and as a command."""

from collections.abc import Mapping

__all__ = [
    "Remedy",
    "allow_origin",
    "another_socket",
    "close_directory",
    "remedies_from_wire",
    "remedies_to_wire",
    "set_variable",
    "start_agent",
]


class Remedy:
    """One thing that helps.

    `text` says what to do, without a full stop: "log in again". `command` has the arguments of the command that does
    it, the program first; it is empty if there is no command. Neither contains anything that a provider, a browser or
    another user wrote.
    """

    __slots__ = ("command", "text")

    def __init__(self, text: str, *command: str) -> None:
        self.text = text
        self.command = command

    @property
    def line(self) -> str:
        """The command for a shell, with arguments quoted as needed; "" if there is none."""
        import shlex  # noqa: PLC0415 -- most programs show no remedy, and it would slow down the start of all

        return shlex.join(self.command)

    def __str__(self) -> str:
        return f"{self.text}: {self.line}" if self.command else self.text

    def __repr__(self) -> str:
        return f"Remedy({', '.join(map(repr, (self.text, *self.command)))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remedy) and (self.text, self.command) == (other.text, other.command)

    def __hash__(self) -> int:
        return hash((self.text, self.command))


# ---- remedies without an agent


def start_agent() -> Remedy:
    """Return what helps if no agent listens."""
    return Remedy("start one", "auth-agent", "start")


def close_directory(directory: str) -> Remedy:
    """Return what helps if others may enter the directory of the socket."""
    return Remedy("let nobody else in", "chmod", "700", directory)


def another_socket() -> Remedy:
    """Return what helps if the directory of the socket can't be trusted."""
    return Remedy("set AUTH_AGENT_SOCK to a socket in a directory of your own")


def allow_origin() -> Remedy:
    """Return what helps if a program allows tokens only for other origins."""
    return Remedy("add the origin to those of the program, if it may have this account's tokens")


def set_variable(name: str) -> Remedy:
    """Return what helps if the directory of that environment variable can't be used."""
    return Remedy(f"set {name} to a directory that you own")


# ---- on the wire


def remedies_to_wire(remedies: tuple[Remedy, ...]) -> list[dict[str, object]]:
    """Return the remedies as maps of the protocol: `text` and, if there is one, `command`."""
    return [
        {"text": remedy.text, "command": list(remedy.command)} if remedy.command else {"text": remedy.text}
        for remedy in remedies
    ]


def remedies_from_wire(value: object) -> tuple[Remedy, ...]:
    """Return the remedies in an error, a record or a store; those that are not valid are left out.

    An older agent sends a string, which becomes the text of a remedy without a command.
    """
    if isinstance(value, str):
        return (Remedy(value),) if value else ()
    if not isinstance(value, list):
        return ()
    remedies: list[Remedy] = []
    for item in value:  # pyright: ignore[reportUnknownVariableType] -- any list from the wire
        fields: Mapping[object, object] = item if isinstance(item, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- as above
        text, command = fields.get("text"), fields.get("command")
        words: list[object] = command if isinstance(command, list) else []  # pyright: ignore[reportUnknownVariableType] -- as above
        if isinstance(text, str):
            remedies.append(Remedy(text, *(word for word in words if isinstance(word, str))))
    return tuple(remedies)
