"""Facts about the program and the machine."""

import platform

from auth_agent.cli.doctor.finding import GOOD, Finding


def describe_program(version: str) -> Finding:
    """Return which program this is, and where it runs."""
    return Finding("program", GOOD, f"auth-agent {version}, Python {platform.python_version()}, {_system()}")


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # macOS, or a container without the file
        name = f"macOS {platform.mac_ver()[0]}" if platform.mac_ver()[0] else platform.system()
    return f"{name} ({platform.system()} {platform.release()}, {platform.machine()})"
