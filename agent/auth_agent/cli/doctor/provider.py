"""Checks of the providers: whether each can be reached from here, is the right one, and has the same time."""

import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import anyio

from auth_agent import remedies
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding
from auth_agent.config import Account
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, Misconfigured
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.providers import HttpProviders

_PATIENCE: Final = 10.0  # s
# Seconds. The agent refreshes early, and ID tokens are accepted within a minute.
_OFFSET: Final = 60.0


async def check_providers(
    accounts: Iterable[Account], providers: HttpProviders, patience: float = _PATIENCE
) -> list[Finding]:
    """Request the metadata of each provider once, all at the same time, and wait at most `patience` seconds."""
    by_provider: dict[HttpProvider, list[Account]] = {}
    for account in accounts:
        by_provider.setdefault(providers(account), []).append(account)
    findings: dict[HttpProvider, list[Finding]] = {}

    async def check(provider: HttpProvider, users: list[Account]) -> None:
        findings[provider] = await _check(users, provider, patience)

    async with anyio.create_task_group() as tasks:
        for provider, users in by_provider.items():
            tasks.start_soon(check, provider, users)
    return without_repetition(finding for provider in by_provider for finding in findings[provider])


async def _check(accounts: list[Account], provider: HttpProvider, patience: float) -> list[Finding]:
    issuer, names = accounts[0].issuer, ", ".join(account.name for account in accounts)
    configured = accounts[0].token_endpoint is not None
    began = time.monotonic()
    with anyio.move_on_after(patience):
        metadata = await provider.discover()
        took = time.monotonic() - began
        return [
            judge(issuer, names, metadata, took, configured=configured),
            *judge_clock(issuer, provider.clock_offset),
        ]
    reason = f"{issuer} ({names}): {urlsplit(issuer).hostname} did not respond within {patience:g} s"
    return [Finding("provider", WRONG, reason, (remedies.check_network(),))]


def judge(
    issuer: str, accounts: str, metadata: Metadata | Failure, took: float, *, configured: bool = False
) -> Finding:
    """Return the finding about a provider's metadata, which came, or didn't, after `took` seconds.

    `configured`: the configuration has it, so that nobody was asked.
    """
    if isinstance(metadata, Metadata):
        kind = "Auth0" if metadata.is_auth0 else "OpenID Connect" if metadata.is_openid else "OAuth 2"
        if configured:
            return Finding("provider", GOOD, f"{issuer} ({accounts}): not asked, the account has its token_endpoint")
        return Finding("provider", GOOD, f"{issuer} ({accounts}): {kind}, responded in {took * 1000:.0f} ms")
    if isinstance(metadata, Misconfigured) and metadata.variable is not None:
        remedy = remedies.correct_proxy(metadata.variable)
    elif isinstance(metadata, Misconfigured):
        remedy = (remedies.correct_configuration(),)
    else:
        remedy = (remedies.check_network(),)
    return Finding("provider", WRONG, f"{issuer} ({accounts}): {metadata.reason}", remedy)


def judge_clock(issuer: str, offset: float | None) -> list[Finding]:
    """Return the finding about this machine's clock; `offset` is by how many seconds the provider's is ahead."""
    if offset is None:
        return []
    if abs(offset) <= _OFFSET:
        return [Finding("clock", GOOD, f"differs from {urlsplit(issuer).hostname} by {abs(offset):.0f} s")]
    direction = "behind" if offset > 0 else "ahead of"
    text = f"this machine is {abs(offset):.0f} s {direction} {urlsplit(issuer).hostname}"
    return [Finding("clock", WARNING, text, (remedies.correct_clock(),))]


def without_repetition(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings; of those that say that the clock is right only the first one."""
    kept: list[Finding] = []
    for finding in findings:
        is_repetition = finding.check == "clock" and finding.verdict == GOOD and any(f.check == "clock" for f in kept)
        if not is_repetition:
            kept.append(finding)
    return kept
