"""Checks of the environment that the agent would inherit from this shell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from auth_agent import remedies
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding
from auth_agent.host.limits import low_limits
from auth_agent.proxies import EXCEPTION_VARIABLES, PROXY_VARIABLES, ProxyError, environment_proxies, parse_proxy

# Variables that the agent, its libraries or Python read.
_SHOWN: Final = ("AUTH_AGENT_", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "SSL_CERT_", "PYTHON")
# Those that an agent in the background inherits.
_CHANGES_PYTHON: Final = ("PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE")


def check_environment(environ: Mapping[str, str]) -> list[Finding]:
    """Return what is set that matters, and what of it, and of the limits of this process, can't be used."""
    problems = [
        *_runtime_directory(environ.get("XDG_RUNTIME_DIR")),
        *_certificates(environ.get("SSL_CERT_FILE")),
        *_proxy(environ),
        *_python(environ),
        *_log(environ.get("AUTH_AGENT_LOG", "")),
        *_limits(),
    ]
    shown = [f"{name}={_value(name, environ[name])}" for name in sorted(environ) if _is_shown(name)]
    facts = Finding("environment", GOOD, ", ".join(shown) or "no variable is set that changes where or how it runs")
    return [facts, *problems]


def _is_shown(name: str) -> bool:
    return name.startswith(_SHOWN) or name in (*PROXY_VARIABLES, *EXCEPTION_VARIABLES)


def _value(name: str, value: str) -> str:
    """Return a variable's value as it may be shown: of a proxy without user and password."""
    if name not in PROXY_VARIABLES or not value:
        return value
    try:
        return parse_proxy(value).url
    except ProxyError:
        return "…"  # where its password is can't be told


def _runtime_directory(value: str | None) -> list[Finding]:
    if not value or Path(value).is_dir():
        return []
    text = f"XDG_RUNTIME_DIR is {value}, which is not a directory, as after `su`"
    return [Finding("environment", WRONG, text, (remedies.unset_variable("XDG_RUNTIME_DIR"),))]


def _log(value: str) -> list[Finding]:
    if value.lower() in {"", "debug", "info"}:
        return []
    text = f"AUTH_AGENT_LOG is {value}, which has no effect: only debug makes the agent log more"
    return [Finding("environment", WARNING, text, (remedies.unset_variable("AUTH_AGENT_LOG"),))]


def _limits() -> list[Finding]:
    return [Finding("environment", WARNING, text, (remedies.raise_limit(),)) for text in low_limits()]


def _certificates(file: str | None) -> list[Finding]:
    if not file or Path(file).is_file():
        return []
    return [Finding("environment", WRONG, f"SSL_CERT_FILE is {file}, which is not a file", (remedies.certificates(),))]


def _proxy(environ: Mapping[str, str]) -> list[Finding]:
    problem = environment_proxies(environ).problem
    if problem is None or problem.variable is None:
        return []
    return [Finding("environment", WRONG, str(problem), remedies.correct_proxy(problem.variable))]


def _python(environ: Mapping[str, str]) -> list[Finding]:
    names = [name for name in _CHANGES_PYTHON if environ.get(name)]
    if not names:
        return []
    text = f"{', '.join(names)} would change what an agent started from here imports"
    return [Finding("environment", WARNING, text, tuple(map(remedies.unset_variable, names)))]
