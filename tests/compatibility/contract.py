"""What is promised to users of the process, as a table, taken from the code that is imported.

`python -m tests.compatibility.contract` prints it as JSON. It reads the vocabulary of the protocol, what the client
package exports, the help texts of the commands, the error that lists the configuration's keys, and the log lines in the
source: what the first version and today's have in common.

A later table keeps an earlier one if it has every key of each map and every item of each list. A list called `needs`
is the other way round: less may be required later, never more.
"""

import ast
import contextlib
import inspect
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import auth_agent
import auth_agent_client
from auth_agent import cli, config
from auth_agent.cli import exits
from auth_agent.errors import ConfigError
from auth_agent_client import aio, errors, messages

# What an option takes that takes any value.
ANYTHING = "anything"

# One of each kind of value that may come for a parameter, and those at the edges of what one takes.
SAMPLES: dict[str, object] = {
    "null": None,
    "true": True,
    "zero": 0,
    "a fraction": 0.5,
    "a negative number": -1,
    "a century": 3_155_760_000.0,
    "a NaN": float("nan"),
    "nothing": "",
    "a name": "work.users_2-B",
    "a sentence": "an account that is not",
    "64 characters": "x" * 64,
    "65 characters": "x" * 65,
    "browser": "browser",
    "device": "device",
    "a list": ["openid", ""],
    "an empty list": [],
    "a list of numbers": [1],
    "a map": {"name": [1, None, {"deeper": 1.5}]},
    "an empty map": {},
    "a map of numbers": {1: 1},
}
# What a program that holds one of the objects may write, beside the names without an underscore.
_OPERATORS = (
    *("__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__next__", "__aiter__", "__anext__"),
    *("__bool__", "__eq__"),
)
_MESSAGE = "a test's"
_WIDTH = 118
_LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def contract() -> dict[str, Any]:
    """All of it, of JSON's types."""
    return {
        "version": auth_agent_client.__version__,
        "protocol": messages.PROTOCOL,
        "methods": {name: _method(method) for name, method in messages.METHODS.items()},
        "record": list(messages.RECORD),
        "states": list(messages.STATES),
        "renewals": list(messages.RENEWALS),
        "errors": {code: _error(kind) for code, kind in errors.BY_CODE.items()},
        "client": _exported(auth_agent_client),
        "client.aio": _exported(aio),
        "commands": dict(_commands(())),
        "exit codes": {name: value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)},
        "account keys": _account_keys(),
        "environment": sorted({name for text in _sources() for name in re.findall(r"\bAUTH_AGENT_[A-Z]+\b", text)}),
        "log": _log_words(),
    }


def lost(then: Any, now: Any, at: str = "") -> list[str]:
    """Return the places of what an earlier table promised and a later one doesn't keep."""
    kinds = (then.__class__, now.__class__)
    if kinds == (dict, dict):
        return [
            place
            for name, value in then.items()
            for place in (lost(value, now[name], f"{at}/{name}") if name in now else [f"{at}/{name}"])
        ]
    if kinds == (list, list):
        had, has = (now, then) if at.endswith("/needs") else (then, now)
        return [] if ANYTHING in has else [f"{at}: {item}" for item in had if item not in has]
    return [] if then == now else [f"{at}: {then} is {now}"]


# ---- the protocol


def _method(method: messages.Method) -> dict[str, Any]:
    return {
        "needs": list(method.required),
        "takes": {
            name: [what for what, value in SAMPLES.items() if kind.accepts(value)]
            for name, kind in method.parameters.items()
        },
        "result": list(method.result or ()),
        "timeout": method.timeout,
        "repeatable": method.repeatable,
    }


def _error(kind: type[errors.AgentError]) -> dict[str, Any]:
    return {"name": kind.__name__, "retryable": kind.retryable, "exit code": exits.exit_code(kind(_MESSAGE))}


# ---- the client package


def _exported(module: ModuleType) -> dict[str, Any]:
    names: list[str] = module.__all__
    return {name: _described(getattr(module, name)) for name in names}


def _described(what: Any) -> dict[str, Any]:
    if inspect.isfunction(what):
        return _call(what)
    if not inspect.isclass(what):
        return {}
    names = set(dir(what(_MESSAGE) if issubclass(what, errors.AgentError) else what))
    members = {
        name: _member(inspect.getattr_static(what, name, None))
        for name in sorted(names)
        if not (name.startswith("_") or hasattr(Exception, name))
    }
    members |= {name: {} for name in _OPERATORS if hasattr(what, name) and name not in vars(object)}
    made = {"made": _call(what)} if what.__name__ in {"Agent", "AsyncAgent"} else {}  # the others come as results
    bases = [base.__name__ for base in what.__mro__[1:] if base is not object]
    return {"is a": bases, **made, "members": members}


def _member(member: Any) -> dict[str, Any]:
    function = getattr(member, "__func__", member)  # a class's or a static method holds one
    return _call(function) if inspect.isfunction(function) else {}


def _call(function: Any) -> dict[str, Any]:
    """Return the required arguments, and for each whether it may be positional or a keyword."""
    every = inspect.signature(function).parameters.values()
    named = [one for one in every if one.name != "self" and one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
    return {
        "needs": [one.name for one in named if one.default is one.empty],
        "takes": {one.name: _ways(one, place) for place, one in enumerate(named, 1)},
    }


def _ways(parameter: inspect.Parameter, place: int) -> list[str]:
    return [
        *([] if parameter.kind == parameter.KEYWORD_ONLY else [f"at place {place}"]),
        *([] if parameter.kind == parameter.POSITIONAL_ONLY else ["by name"]),
    ]


# ---- the command line


def _commands(path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each command by its words, with what it takes according to its help."""
    text = _help(*path)
    usage = " ".join(text.partition("Usage: ")[2].partition("\n\n")[0].split())
    arguments = usage.removeprefix(" ".join(("auth-agent", *path))).replace("[OPTIONS]", "").split()
    yield (
        " ".join(path),
        {
            "needs": [f"argument {place}" for place, one in enumerate(arguments, 1) if not one.startswith("[")],
            "takes": [f"argument {place}" for place, _ in enumerate(arguments, 1)],
            "options": _options(text),
        },
    )
    _, _, below = text.partition("\nOptions:\n")
    for name in re.findall(r"^  ([a-z][\w-]*)(?:  |$)", below, re.MULTILINE):
        yield from _commands((*path, name))


def _options(text: str) -> dict[str, list[str]]:
    """Return the values of each option, by each of its names; an empty list means no value."""
    options: dict[str, list[str]] = {}
    for line in re.findall(r"^  (-\S.*)$", text, re.MULTILINE):
        names, _, value = re.sub(r"(, | / )(?=-)", r",", line).partition("  ")[0].partition(" ")
        choices = value[1:-1].split("|") if value.startswith("[") else [ANYTHING] if value else []
        options.update(dict.fromkeys(names.split(","), choices))
    return options


def _help(*words: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, mock.patch("sys.argv", ["auth-agent", *words, "--help"]):
        assert cli.main() == 0
    return output.getvalue()


# ---- the configuration


def _account_keys() -> list[str]:
    """Return the keys of an account, from the error for an unknown one."""
    try:
        config.parse(Path("config.toml"), '[accounts.work]\n"\u2013" = 1\n')
    except ConfigError as error:
        return str(error).partition("known are: ")[2].split(", ")
    raise AssertionError("an unknown key was taken")


# ---- the source


def _sources() -> Iterator[str]:
    for package in (auth_agent, auth_agent_client):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                yield path.read_text()


def _log_words() -> dict[str, list[str]]:
    """Return the events of the log, with which its lines begin, and the keys of all of them."""
    lines = {text for source in _sources() for text in _log_texts(source)}
    events = {line.split()[0] for line in lines} - {"%s"}
    keys = {key for line in lines for key in re.findall(r"([a-z_]+)=", line)}
    return {"events": sorted(events), "keys": sorted(keys)}


def _log_texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[ast.Constant(value=str(text)), *_]
            ) if level in _LEVELS:
                yield text
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="_log"), attr="log"), args=[_, ast.Constant(value=str(text)), *_]
            ):
                yield text
            case _:
                pass


def pretty(value: Any, indent: str = "") -> str:
    """JSON with a line for each thing that fits in one."""
    text, kind = json.dumps(value), value.__class__
    if len(indent) + len(text) <= _WIDTH or kind not in {dict, list}:
        return text
    inside = f"{indent} "
    if kind is list:
        lines = [pretty(item, inside) for item in value]
    else:
        lines = [f"{json.dumps(key)}: {pretty(item, inside)}" for key, item in value.items()]
    first, last = "[]" if kind is list else "{}"
    return "\n".join([first, *(f"{inside}{line}," for line in lines[:-1]), f"{inside}{lines[-1]}", f"{indent}{last}"])


if __name__ == "__main__":
    sys.stdout.write(f"{pretty(contract())}\n")
