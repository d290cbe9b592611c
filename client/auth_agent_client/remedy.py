"""What helps where something is wrong: in words, and as a command that can be run."""

from collections.abc import Mapping

__all__ = ["Remedy", "another_socket", "close_directory", "remedies_from_wire", "remedies_to_wire", "start_agent"]


class Remedy:
    """One thing that helps.

    `text` says what to do, without a full stop: "log in again". `command` has the arguments of the command that does
    it, the program first; it is empty where no command does. Both were made by the agent or by the client: nothing
    that a provider, a browser or another user wrote is in them.
    """

    __slots__ = ("command", "text")

    def __init__(self, text: str, *command: str) -> None:
        self.text = text
        self.command = command

    @property
    def line(self) -> str:
        """The command as one types it in a shell, each argument quoted where it has to be; "" where there is none."""
        import shlex  # noqa: PLC0415 -- most programs show no remedy, and all would pay

        return shlex.join(self.command)

    def __str__(self) -> str:
        return f"{self.text}: {self.line}" if self.command else self.text

    def __repr__(self) -> str:
        return f"Remedy({', '.join(map(repr, (self.text, *self.command)))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remedy) and (self.text, self.command) == (other.text, other.command)

    def __hash__(self) -> int:
        return hash((self.text, self.command))


# ---- what helps before an agent answers


def start_agent() -> Remedy:
    """No agent listens."""
    return Remedy("start one", "auth-agent", "run")


def close_directory(directory: str) -> Remedy:
    """Others may enter the directory of the socket."""
    return Remedy("let nobody else in", "chmod", "700", directory)


def another_socket() -> Remedy:
    """The place of the socket can't be trusted."""
    return Remedy("set AUTH_AGENT_SOCK to a socket in a directory of your own")


# ---- on the wire


def remedies_to_wire(remedies: tuple[Remedy, ...]) -> list[dict[str, object]]:
    """The remedies as the protocol has them: maps of `text` and, where there is one, `command`."""
    return [
        {"text": remedy.text, "command": list(remedy.command)} if remedy.command else {"text": remedy.text}
        for remedy in remedies
    ]


def remedies_from_wire(value: object) -> tuple[Remedy, ...]:
    """The remedies of an error, a record or a store, by the protocol; what can't be read is left out.

    An older agent has a string there, which is text and no command, whatever it says.
    """
    if isinstance(value, str):
        return (Remedy(value),) if value else ()
    if not isinstance(value, list):
        return ()
    remedies: list[Remedy] = []
    for one in value:  # pyright: ignore[reportUnknownVariableType] -- any list from the wire
        fields: Mapping[object, object] = one if isinstance(one, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] -- as above
        text, command = fields.get("text"), fields.get("command")
        words: list[object] = command if isinstance(command, list) else []  # pyright: ignore[reportUnknownVariableType] -- as above
        if isinstance(text, str):
            remedies.append(Remedy(text, *(word for word in words if isinstance(word, str))))
    return tuple(remedies)
