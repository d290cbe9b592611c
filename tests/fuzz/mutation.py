"""The fuzzer's messages: honest requests and mutations of them, from a seed, without I/O."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from auth_agent_client.messages import METHODS

# The session of a well-behaved client: no message may log it out.
GUARDED: Final = "work"
# Sessions that messages may log in to, import into and log out.
VICTIMS: Final = ("victim", "spare")

_DESTRUCTIVE: Final = (b"logout",)
_DEEPEST_VALUE: Final = 28  # the message, its params and their map are above it
_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One message."""

    data: bytes
    # How it was made.
    kind: str
    # The id of its response; None: it has no response, or its id is not known.
    id: int | None = None
    # Whether a stream ends with it, since it may not be a valid message.
    last: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The values that a hostile client of the same user may know."""

    access_token: str
    refresh_token: str
    login_id: str
    url: str


class Mutator:
    """Makes messages: the same ones for the same seed, except for the known values."""

    def __init__(self, seed: str, known: Known) -> None:
        self._chance = random.Random(seed)
        self.known = known
        self._last_id = 0
        # Not those after which other clients are not served, or served from elsewhere.
        self._heads = [method for method in METHODS if method not in {"lock", "move_store"}]

    def stream(self) -> list[Sample]:
        """Return the messages of one connection; usually the last one is invalid."""
        samples: list[Sample] = []
        for _ in range(self._chance.choice((1, 8, 64, 64, 200, 400))):
            sample = self._message()
            samples.append(sample)
            if sample.last:
                break
        return samples

    # ---- messages

    def _message(self) -> Sample:
        makers: tuple[tuple[float, Callable[[], Sample]], ...] = (
            (0.28, self._honest),
            (0.66, self._mutated),
            (0.03, self._notification),
            (0.01, self._misshapen),
            (0.015, self._damaged),
            (0.005, self._noise),
        )
        (make,) = self._chance.choices([make for _, make in makers], [weight for weight, _ in makers])
        sample = make()
        if GUARDED.encode() in sample.data and any(word in sample.data for word in _DESTRUCTIVE):
            return self._honest_request("hello", {}, "honest")
        return sample

    def _honest(self) -> Sample:
        method = self._chance.choice(self._heads)
        return self._honest_request(method, self._parameters(method), "honest")

    def _honest_request(self, method: str, parameters: dict[str, object], kind: str) -> Sample:
        self._last_id = self._last_id % 0xFFFF_FFFF + 1
        params = [parameters] if parameters or self._chance.random() < 0.5 else []
        return Sample(msgpack.packb([0, self._last_id, method, params]), kind, self._last_id)

    def _mutated(self) -> Sample:
        """Return a well-formed request with a wrong method or wrong parameters."""
        method = self._chance.choice(self._heads)
        parameters = self._parameters(method)
        change = self._chance.choice(("drop", "add", "value", "value", "value", "swap", "rename", "many", "method"))
        names = list(parameters) or ["account"]
        name = self._chance.choice(names)
        if change == "drop":
            parameters.pop(name, None)
        elif change == "add":
            parameters[self._text()] = self._value()
        elif change == "value":
            parameters[name] = self._value()
        elif change == "swap":
            other = self._chance.choice(names)
            parameters[name], parameters[other] = parameters.get(other), parameters.get(name)
        elif change == "rename":
            renamed = self._chance.choice((name.upper(), name + "\0", name[:-1], "_" + name, name + name))
            parameters[renamed] = parameters.pop(name, self._value())
        elif change == "many":
            parameters |= {f"{name}{number}": number for number in range(self._chance.randrange(60))}
        else:
            method = self._chance.choice((self._text(), method.upper(), method + " ", "__class__", method[::-1]))
        return self._honest_request(method, parameters, change)

    def _notification(self) -> Sample:
        """Return a notification, which the agent ignores."""
        method = self._chance.choice((*self._heads, self._text()))
        return Sample(msgpack.packb([2, method, [self._value() for _ in range(self._chance.randrange(3))]]), "notice")

    def _misshapen(self) -> Sample:
        """Return MessagePack that is not valid MessagePack-RPC."""
        method = self._chance.choice(self._heads)
        parameters: object = self._parameters(method)
        id_: object = self._chance.randrange(1 << 32)
        wrong: Sequence[Any] = (
            [],
            {},
            None,
            [0, id_, method],
            [0, id_, method, [parameters], 1],
            [3, id_, method, [parameters]],
            [True, id_, method, [parameters]],
            [1, id_, None, parameters],
            [2, method, parameters],
            [2, id_, []],
            [0, self._chance.choice((-1, 1 << 32, 1.5, "1", None, True, [id_])), method, [parameters]],
            [0, id_, self._chance.choice((None, 7, b"token", [method])), [parameters]],
            [0, id_, method, parameters],
            [0, id_, method, [parameters, parameters]],
            [0, id_, method, [[parameters]]],
            [0, id_, method, [{self._chance.choice((1, None, b"account", 1.5, True)): "work"}]],
            [0, id_, method, [{"account": msgpack.ExtType(self._chance.randrange(128), b"x")}]],
            [0, id_, method, [{"account": msgpack.Timestamp(self._chance.randrange(1 << 32))}]],
            [0, id_, method, [{"account": self._nested(self._chance.choice((30, 33, 100, 400)))}]],
            [0, id_, method, [{"fields": [[]] * self._chance.choice((50_001, 60_000, 200_000))}]],
            [0, id_, method, [{"client": "x" * (_MEBIBYTE + self._chance.randrange(100))}]],
        )
        # The last two cost more than all others together.
        weights = [10] * (len(wrong) - 2) + [1, 1]
        (value,) = self._chance.choices(wrong, weights)
        return Sample(msgpack.packb(value), "misshapen", last=True)

    def _damaged(self) -> Sample:
        """Return a request with bytes changed, lost, doubled or inserted."""
        data = bytearray(self._honest().data)
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            at = self._chance.randrange(len(data) + 1)
            damage = self._chance.choice(("flip", "set", "insert", "delete", "double", "cut", "splice", "announce"))
            if damage == "flip" and at < len(data):
                data[at] ^= 1 << self._chance.randrange(8)
            elif damage == "set" and at < len(data):
                data[at] = self._chance.choice((0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC9, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF))
            elif damage == "insert":
                data[at:at] = self._chance.randbytes(self._chance.randrange(1, 9))
            elif damage == "delete":
                del data[at : at + self._chance.randrange(1, 9)]
            elif damage == "double":
                data[at:at] = data[: self._chance.randrange(len(data) + 1)]
            elif damage == "cut":
                del data[at:]
            elif damage == "splice":
                data[at:] = self._honest().data[self._chance.randrange(8) :]
            else:  # an announced size that never arrives
                data[at:at] = self._chance.choice(_ANNOUNCEMENTS)
        return Sample(bytes(data), "damaged", last=True)

    def _noise(self) -> Sample:
        size = self._chance.choice((1, 10, 100, 1000, 100_000))
        return Sample(
            self._chance.choice((self._chance.randbytes(size), b"\x91" * size, bytes(size))), "noise", last=True
        )

    # ---- parameters

    def _parameters(self, method: str) -> dict[str, object]:
        """Return parameters of a method: the required ones, and others by chance."""
        spec = METHODS[method]
        return {
            name: self._fitting(name)
            for name in spec.parameters
            if name in spec.required or self._chance.random() < _PROBABILITIES.get(name, 0.3)
        }

    def _fitting(self, name: str) -> object:
        chance = self._chance
        if name == "account":
            return chance.choice((GUARDED, GUARDED, GUARDED, *VICTIMS, "nobody"))
        if name in ("force", "switch_user", "revoke", "revoke_shared", "clear", "clients"):
            return chance.random() < 0.5
        if name in ("min_ttl", "max_age"):
            return chance.choice((0, 1, 60, 600.5, 3000, 4000, 3_155_760_000))
        if name == "timeout":
            return chance.choice((0, 0.001, 0.05, 0.2))
        if name == "flow":
            return chance.choice(("browser", "device"))
        if name == "accounts":
            return chance.choice(([], [GUARDED], list(VICTIMS), ["nobody"], [GUARDED] * 50))
        known: dict[str, tuple[str, ...]] = {
            "access_token": (self.known.access_token, "unknown"),
            "refresh_token": (self.known.refresh_token, "unknown"),
            # Rarely, since a message with it may end the login.
            "login_id": (*["unknown"] * 50, self.known.login_id),
            "url": (self.known.url, f"{self.known.url}&code=1", "http://127.0.0.1:1/callback?state=1&code=2"),
            "audience": ("https://api.example/", "https://other.example/"),
            "scope": ("openid profile email offline_access", "openid", ""),
        }
        if name in known:
            return chance.choice(known[name])
        return self._text() if name in ("client", "client_secret") else self._value()

    # ---- values

    def _text(self) -> str:
        chance = self._chance
        return chance.choice(
            (
                "",
                "x",
                "work\n",
                "../../etc/passwd",
                "\x1b]0;owned\x07\x1b[2J",
                "\0",
                "\u202eelif\ufeff",
                "%s%n{0.__class__}",
                "ä" * chance.randrange(1, 40),
                "\U0001f511" * chance.randrange(1, 20),
                "x" * chance.choice((63, 64, 65, 255, 256, 65_535, 65_536)),
                chance.randbytes(chance.randrange(30)).decode("latin-1"),
            )
        )

    def _value(self) -> object:
        chance = self._chance
        simple: tuple[Any, ...] = (
            *(None, True, False, 0, 1, -1, 64, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63)),
            *(0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"), 3_155_760_000.1),
            *([], {}, [None], {"": None}, {"account": "work"}, [[[[]]]], b"", b"\xff\xfe", b"work"),
        )
        kind = chance.random()
        if kind < 0.6:
            return chance.choice(simple)
        if kind < 0.85:
            return self._text()
        if kind < 0.95:
            return [chance.choice(simple) for _ in range(chance.choice((1, 3, 15, 16, 300)))]
        if kind < 0.99:
            return self._nested(chance.randrange(1, _DEEPEST_VALUE))
        return chance.randbytes(chance.choice((1000, 70_000)))

    def _nested(self, levels: int) -> object:
        value: object = None
        for level in range(levels):
            value = {"deeper": value} if level % 2 else [value]
        return value


# The probability of an optional parameter, if not 0.3.
_PROBABILITIES: Final = {"account": 0.7, "timeout": 0.9, "force": 0.15}

_ANNOUNCEMENTS: Final = (
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x05",
    b"\xdb\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xda\xff\xff",
    b"\xdc\xff\xff",
    b"\xde\xff\xff",
)
