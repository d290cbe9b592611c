"""Checks whether something starts the agent at the next login."""

from auth_agent import remedies
from auth_agent.cli.doctor.finding import GOOD, WARNING, Finding
from auth_agent.service.manager import Manager


def judge_service(manager: Manager) -> Finding:
    """Return the finding about the service; no program is run."""
    if manager.is_enabled():
        return Finding("service", GOOD, f"{manager.name} has the agent at each login")
    if manager.has_files():
        return Finding(
            "service", WARNING, f"the service of {manager.name} is not enabled", (remedies.install_service(),)
        )
    if manager.seems_to_run():
        return Finding("service", WARNING, "nothing starts the agent at the next login", (remedies.install_service(),))
    return Finding("service", WARNING, f"{manager.name} does not run for this user", (remedies.start(),))
