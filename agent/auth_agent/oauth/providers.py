"""The providers of all accounts."""

import ssl
from collections.abc import Callable

from anyio.abc import TaskGroup

from auth_agent.config import Account
from auth_agent.host.clock import Clock
from auth_agent.oauth.account_certificates import AccountCertificates, CertificateFiles
from auth_agent.oauth.certificates import new_trusted_context
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.transport import Transport
from auth_agent.proxies import Proxies, account_proxies


class HttpProviders:
    """The providers of all accounts: one per issuer, proxy, certificates and endpoints, made at first use."""

    def __init__(
        self, certificates: Callable[[], ssl.SSLContext], proxies: Proxies, clock: Clock | None = None
    ) -> None:
        """Create them.

        Args:
            certificates: returns those that are trusted now.
            proxies: those of accounts without a proxy of their own.
            clock: the clock; None: the machine's.

        """
        self._certificates = certificates
        self._proxies = proxies
        self._clock = clock
        self._tasks: TaskGroup | None = None
        self._providers: dict[tuple[str, str | None, tuple[tuple[str, str], ...], CertificateFiles], HttpProvider] = {}

    def run_in(self, tasks: TaskGroup) -> None:
        """Request metadata in that task group, which has to run before the first request."""
        self._tasks = tasks

    def look_again(self) -> None:
        """Have all look their metadata up before the next request, if it is not recent: a person has asked for that."""
        for provider in self._providers.values():
            provider.look_again()

    def __call__(self, account: Account) -> HttpProvider:
        """Return the account's provider."""
        assert self._tasks is not None  # noqa: S101 -- for the type checker: nobody asks before `run_in`
        files = CertificateFiles(account.ca_file, account.client_certificate, account.client_key)
        key = (account.issuer, account.proxy, tuple(account.endpoints.items()), files)
        provider = self._providers.get(key)
        if provider is None:
            # Nothing in it can fail: what is wrong with a proxy is the outcome of each request that needs it.
            proxies = self._proxies if account.proxy is None else account_proxies(account.proxy)
            own = AccountCertificates(files, new_trusted_context) if files else self._certificates
            transport = Transport(own, proxies)
            provider = self._providers[key] = HttpProvider(
                account.issuer,
                transport,
                self._tasks,
                account.endpoints,
                self._clock,
                has_certificate=files.client_certificate is not None,
            )
        return provider
