"""The kubeconfig, as `kubectl config view --output json` prints it: all its files together."""

from collections.abc import Mapping
from dataclasses import dataclass

from auth_agent.json_object import parse_object
from auth_agent_client.values import mapping, mappings, string, strings


@dataclass(frozen=True, slots=True)
class Context:
    """A context: its name, the URL of its cluster, and its user; each "" if it has none."""

    name: str
    server: str
    user: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """The exec credential plugin of a user: a command and its arguments."""

    command: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Its contexts, and its users, each with its credential plugin; None: it has another credential, or none."""

    contexts: tuple[Context, ...]
    users: Mapping[str, Plugin | None]


def read_kubeconfig(text: str) -> Kubeconfig:
    """Return the kubeconfig. Raises a `JsonObjectError` if it is not a JSON object."""
    content = parse_object(text)
    servers = {name: _string(value, "server") for name, value in _entries(content, "clusters", "cluster")}
    contexts = tuple(
        Context(name, servers.get(_string(value, "cluster"), ""), _string(value, "user"))
        for name, value in _entries(content, "contexts", "context")
    )
    return Kubeconfig(contexts, {name: _plugin(value) for name, value in _entries(content, "users", "user")})


def _entries(content: Mapping[str, object], plural: str, singular: str) -> list[tuple[str, Mapping[str, object]]]:
    """Return the named entries of a list: `[{"name": …, "cluster": {…}}, …]`."""
    return [(_string(entry, "name"), mapping(entry.get(singular))) for entry in mappings(content.get(plural))]


def _plugin(user: Mapping[str, object]) -> Plugin | None:
    plugin = mapping(user.get("exec"))
    return Plugin(_string(plugin, "command"), strings(plugin.get("args"))) if plugin else None


def _string(value: Mapping[str, object], name: str) -> str:
    return string(value.get(name)) or ""
