"""Checks of the directories that the agent would use, or make, from the environment of this process."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from auth_agent import remedies
from auth_agent.cli.doctor.finding import WRONG, Finding
from auth_agent.config_path import config_path
from auth_agent.host.private_directory import nearest_directory
from auth_agent.storage.state_directory import state_path
from auth_agent_client.errors import Misconfigured
from auth_agent_client.paths import socket_path


def check_directories() -> list[Finding]:
    """Return what is wrong with them, each fault once; none if nothing is."""
    directories = (lambda: config_path().parent, state_path, lambda: Path(socket_path()).parent)
    findings = [finding for directory in directories if (finding := _judge(directory))]
    return list({(finding.text, finding.remedy): finding for finding in findings}.values())


def _judge(directory: Callable[[], Path]) -> Finding | None:
    try:
        path = directory()
    except Misconfigured as error:
        return Finding("environment", WRONG, error.message, error.remedy)
    try:
        existing = nearest_directory(path)
        refusal = _refusal(existing)
    except OSError as error:
        return Finding("environment", WRONG, f"{path} can't be used: {error.strerror}", remedies.for_file(error, path))
    if refusal is None:
        return None
    text = f"{existing} can't be written to: {os.strerror(refusal)}"
    return Finding("environment", WRONG, text, remedies.for_file(OSError(refusal, ""), path))


def _refusal(directory: Path) -> int | None:
    """Return the number of the error that a new file in the directory would meet; None if there is none."""
    system = os.statvfs(directory)
    if system.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not os.access(directory, os.W_OK | os.X_OK):
        return errno.EACCES
    has_room = system.f_bavail and (system.f_favail or not system.f_files)  # btrfs counts no files
    return None if has_room else errno.ENOSPC
