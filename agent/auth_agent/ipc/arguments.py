"""What a request brings: its parameters, checked, by type."""

import math

from auth_agent.secret import Secret
from auth_agent_client.messages import check
from auth_agent_client.wire import Request


class Arguments:
    """A request's parameters, checked, by type."""

    __slots__ = ("_given", "method", "timeout")

    def __init__(self, request: Request) -> None:
        """Check them.

        Raises:
            AgentError: the method is unknown, or doesn't take them.

        """
        method = check(request.method, request.parameters)
        self._given = request.parameters
        self.method = request.method
        # A method that never waits for long has no limit to wait for.
        self.timeout = self.seconds("timeout", math.inf if method.timeout is None else method.timeout)

    def replace(self, **values: str | None) -> None:
        """Go on as if the request had these parameters; None: as if it had been left out."""
        kept = {name: value for name, value in self._given.items() if name not in values}
        self._given = {**kept, **{name: value for name, value in values.items() if value is not None}}

    def string(self, name: str) -> str | None:
        """That parameter, None when it was left out."""
        value = self._given.get(name)
        return value if isinstance(value, str) else None

    def secret(self, name: str) -> Secret | None:
        """That parameter, None when it was left out."""
        value = self.string(name)
        return None if value is None else Secret(value)

    def seconds(self, name: str, default: float = 0.0) -> float:
        """That parameter in seconds."""
        value = self._given.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def demand(self, name: str) -> float | None:
        """That parameter in seconds, None when it was left out."""
        return self.seconds(name) if name in self._given else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """That parameter."""
        return self._given.get(name, default) is True

    def map(self, name: str) -> dict[str, object]:
        """That parameter, empty when it was left out."""
        value = self._given.get(name)
        return {str(key): one for key, one in value.items()} if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be a map

    def strings(self, name: str) -> list[str] | None:
        """That parameter, None when it was left out."""
        value = self._given.get(name)
        return [str(item) for item in value] if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be texts
