"""Checks of the environment that the agent would inherit from this shell."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from auth_agent import remedies
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding

# Variables that the agent, its libraries or Python read.
_PROXIES: Final = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_DIRECTORIES: Final = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
_SHOWN: Final = ("AUTH_AGENT_", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "SSL_CERT_", "PYTHON")
# What Python does differently in a process that inherits them.
_CHANGES_PYTHON: Final = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT")


def check_environment(environ: Mapping[str, str], uid: int) -> list[Finding]:
    """Return what is set that matters, and what of it can't be used.

    Args:
        environ: the environment.
        uid: the user's id, to whom the directories must belong.

    """
    problems = [
        *(finding for name in _DIRECTORIES if (finding := _directory(name, environ.get(name), uid))),
        *_certificates(environ.get("SSL_CERT_FILE")),
        *_proxies(environ),
        *_python(environ),
    ]
    shown = [f"{name}={_value(name, environ[name])}" for name in sorted(environ) if _is_shown(name)]
    facts = Finding("environment", GOOD, ", ".join(shown) or "no variable is set that changes where or how it runs")
    return [facts, *problems]


def _is_shown(name: str) -> bool:
    return name.startswith(_SHOWN) or name.upper() in _PROXIES


def _value(name: str, value: str) -> str:
    return without_password(value) if name.upper() in _PROXIES else value


def without_password(url: str) -> str:
    """Return a URL without its user information (RFC 3986, section 3.2.1), which may be a password."""
    if "@" not in url:
        return url
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        return "…"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"…@{host}")).removeprefix("" if "//" in url else "//")


def _directory(name: str, value: str | None, uid: int) -> Finding | None:
    if not value:
        return None
    if not value.startswith("/"):
        return Finding("environment", WRONG, f"{name} is not an absolute path", (remedies.set_variable(name),))
    try:
        owner = os.stat(value).st_uid  # noqa: PTH116 -- a path that may not be UTF-8
    except OSError as error:
        if name != "XDG_RUNTIME_DIR" and isinstance(error, FileNotFoundError):
            return None  # the agent makes it
        return Finding("environment", WRONG, f"{name}: {error.strerror}", (remedies.set_variable(name),))
    if owner == uid:
        return None
    text = f"{name} is {value}, which belongs to the user {owner}, not to you, as after `sudo -E` or `su`"
    return Finding("environment", WRONG, text, (remedies.set_variable(name),))


def _certificates(file: str | None) -> list[Finding]:
    if not file or Path(file).is_file():
        return []
    return [Finding("environment", WRONG, f"SSL_CERT_FILE is {file}, which is not a file", (remedies.certificates(),))]


def _proxies(environ: Mapping[str, str]) -> list[Finding]:
    names = [name for name in sorted(environ) if name.upper() in _PROXIES and name.upper() != "NO_PROXY"]
    bad = [name for name in names if environ[name].lower().startswith("socks")]
    return [Finding("environment", WARNING, f"{name} is a SOCKS proxy", (remedies.http_proxy(),)) for name in bad]


def _python(environ: Mapping[str, str]) -> list[Finding]:
    names = [name for name in _CHANGES_PYTHON if environ.get(name)]
    if not names:
        return []
    text = f"{', '.join(names)} would change what an agent started from here imports"
    return [Finding("environment", WARNING, text, tuple(map(remedies.unset_variable, names)))]
