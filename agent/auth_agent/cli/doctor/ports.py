"""Checks whether a login could receive the browser, and nobody else: the ports, and whose a connection is."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from auth_agent import remedies
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding
from auth_agent.config import DEFAULT_REDIRECT_HOST, Account
from auth_agent.host.tcp_table import shows
from auth_agent.loopback.port import listen


def check_ports(accounts: Iterable[Account]) -> list[Finding]:
    """Return the finding about the callback ports of the accounts to which a browser logs in."""
    return [
        _judge(account, {port: _failure(account.redirect_host, port) for port in account.redirect_ports})
        for account in _one_for_each_list(accounts)
    ]


def check_peers() -> Finding:
    """Return the finding about other users at those ports."""
    with suppress(OSError), socket.create_server((DEFAULT_REDIRECT_HOST, 0)) as probe:
        if shows(probe):
            return Finding("redirects", GOOD, "only your own browser's are accepted: the kernel says whose they are")
    text = "this system does not say whose browser's they are: another local user could log you in as themselves"
    return Finding("redirects", WARNING, text, (remedies.hide_url(),))


def _one_for_each_list(accounts: Iterable[Account]) -> list[Account]:
    by_ports = {
        (account.redirect_host, account.redirect_ports): account for account in accounts if account.grant_type.has_user
    }
    return list(by_ports.values())


def _judge(account: Account, failures: dict[int, str | None]) -> Finding:
    free = [port for port, failure in failures.items() if failure is None]
    taken = [f"{port} ({failure})" for port, failure in failures.items() if failure is not None]
    if not taken:
        return Finding("ports", GOOD, f"{', '.join('any' if port == 0 else str(port) for port in free)}: free")
    verdict = WARNING if free else WRONG
    return Finding("ports", verdict, f"taken: {', '.join(taken)}", remedies.other_ports(account.name))


def _failure(host: str, port: int) -> str | None:
    """Return why nothing can listen on that port of the host's addresses; None if it is free."""
    try:
        for listening in listen(host, port):
            listening.close()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return None
