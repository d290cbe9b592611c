"""A text that can't be printed by accident."""

from hashlib import sha256
from typing import Never, final


@final
class Secret:
    """A token, code, verifier or client secret.

    Shows as `Secret(…)` wherever it is printed, and refuses to be pickled or iterated. `reveal` is the one door:
    a search for it finds every place where a secret leaves.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def fingerprint(self) -> str:
        """SHA-256 of the text, in hexadecimal: tells secrets apart without telling them."""
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
