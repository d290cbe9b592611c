"""Typed access to the checked parameters of a request."""

import math

from auth_agent.secret import Secret
from auth_agent_client.messages import check
from auth_agent_client.wire import Request


class Arguments:
    """The checked parameters of a request, by type."""

    __slots__ = ("_params", "method", "timeout")

    def __init__(self, request: Request) -> None:
        """Check the parameters of that request.

        Raises:
            AgentError: the method is unknown, or its parameters are invalid.

        """
        method = check(request.method, request.parameters)
        self._params = request.parameters
        self.method = request.method
        # A method without a timeout never waits for long.
        self.timeout = self.seconds("timeout", math.inf if method.timeout is None else method.timeout)

    def replace(self, **values: str | None) -> None:
        """Replace these parameters; None removes one."""
        remaining = {name: value for name, value in self._params.items() if name not in values}
        self._params = {**remaining, **{name: value for name, value in values.items() if value is not None}}

    def string(self, name: str) -> str | None:
        """Return that parameter, None if it is missing."""
        value = self._params.get(name)
        return value if isinstance(value, str) else None

    def secret(self, name: str) -> Secret | None:
        """Return that parameter, None if it is missing."""
        value = self.string(name)
        return None if value is None else Secret(value)

    def seconds(self, name: str, default: float = 0.0) -> float:
        """Return that parameter in seconds, `default` if it is missing."""
        value = self._params.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def demand(self, name: str) -> float | None:
        """Return that parameter in seconds, None if it is missing."""
        return self.seconds(name) if name in self._params else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return that parameter, `default` if it is missing."""
        return self._params.get(name, default) is True

    def map(self, name: str) -> dict[str, object]:
        """Return that parameter, empty if it is missing."""
        value = self._params.get(name)
        return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be a map

    def parameters(self, name: str) -> dict[str, str]:
        """Return that parameter, a map of strings; empty if it is missing."""
        value = self._params.get(name)
        return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be strings

    def strings(self, name: str) -> list[str] | None:
        """Return that parameter, None if it is missing."""
        value = self._params.get(name)
        return [str(item) for item in value] if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be strings
