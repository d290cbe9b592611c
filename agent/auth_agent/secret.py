"""A string that can't be printed by accident."""

from hashlib import sha256
from typing import Never, final


@final
class Secret:
    """A token, code, verifier or client secret.

    It prints as `Secret(…)`, and can't be pickled or iterated. Only `reveal` returns the string, so a search for it
    finds every place that uses one.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the string."""
        return self._value

    def fingerprint(self) -> str:
        """Return the SHA-256 of the string, in hexadecimal, which identifies a secret without revealing it."""
        return sha256(self._value.encode("utf-8", "surrogatepass")).hexdigest()

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> Never:
        raise TypeError("a secret can't be pickled")

    def __iter__(self) -> Never:
        raise TypeError("a secret can't be iterated")
