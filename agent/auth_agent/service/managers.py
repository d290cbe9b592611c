"""Which service manager this machine has."""

import sys

from auth_agent import remedies
from auth_agent.service.launchd import Launchd
from auth_agent.service.manager import Manager, ServiceError
from auth_agent.service.systemd import Systemd


def platform_manager() -> Manager:
    """Return the service manager of this platform, whether or not it runs."""
    return Launchd() if sys.platform == "darwin" else Systemd()


def choose_manager() -> Manager:
    """Return the service manager of this user's session.

    Raises:
        ServiceError: there is none, as in a container or over bare ssh.

    """
    if sys.platform == "darwin" or Systemd.is_available():
        return platform_manager()
    raise ServiceError("there is no service manager for this user: systemctl --user can't reach one", remedies.start())
