"""Checks who signed a token: the provider, by one of its keys, or by the secret that it shares with the client."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from auth_agent.config import Account
from auth_agent.oauth import id_token
from auth_agent.oauth.entra import Tenant, is_for, keys_for
from auth_agent.oauth.outcome import Defect, Failure, Misconfigured, Unusable
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.signature import SignatureCheckError, Signatures
from auth_agent.oauth.signing import mac_algorithm
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.persistence import KEYS_PATIENCE, may_pass, pause_after
from auth_agent.signing_algorithms import MAC_LENGTHS

_log = logging.getLogger(__name__)

ID_TOKEN: Final = "ID token"  # noqa: S105 -- a noun
USERINFO: Final = "UserInfo response"
_ALGORITHM: Final = "id_token_signed_response_alg"


class Verifier:
    """Checks signatures, with the keys of the accounts' providers."""

    def __init__(self, provider_for: Callable[[Account], Provider], signatures: Signatures) -> None:
        self._provider_for = provider_for
        self._signatures = signatures

    async def problem(
        self,
        account: Account,
        client_secret: Secret | None,
        token: Secret,
        noun: str = ID_TOKEN,
        *,
        tenant: Tenant | None = None,
    ) -> Failure | None:
        """Return why a token of the account's provider must not be used, None if its signature is valid.

        The algorithm is known before the token is looked at (OpenID Connect Core 1.0, section 3.1.3.7, item 7), and a
        MAC is never computed with a key that the provider publishes.

        Args:
            account: the account.
            client_secret: the client's secret, if it has one.
            token: ID token or UserInfo response.
            noun: which of them it is.
            tenant: the tenant that an ID token is of, if the account's issuer is for all of Entra's.

        """
        metadata = await self._provider_for(account).discover()
        if isinstance(metadata, Failure):
            return metadata
        if tenant is not None and not is_for(metadata.issuer, tenant):
            return Unusable(f"the ID token's issuer is {printable(tenant.issuer)!r}, not {metadata.issuer!r}")
        configured = account.id_token_signed_response_alg
        mac = mac_algorithm(configured, metadata.id_token_algorithms)
        try:
            if mac is not None:
                return await self._mac_problem(account, client_secret, token, mac, noun)
            keys = await self._provider_for(account).keys()
            if isinstance(keys, Failure):
                return replace(keys, reason=f"the {noun} can't be checked: {keys.reason}")
            if tenant is not None:
                keys = keys_for(keys, tenant)
            algorithm = configured if noun == ID_TOKEN else None
            forgery = await self._signatures.problem(token, keys, algorithm, noun)
        except SignatureCheckError as error:
            return Defect(str(error))
        if forgery is None:
            return None
        if client_secret is not None and configured is None and id_token.algorithm(token) in MAC_LENGTHS:
            return Misconfigured(forgery, keys=(_ALGORITHM,))
        return Unusable(forgery)

    async def problem_at_login(
        self,
        account: Account,
        client_secret: Secret | None,
        token: Secret,
        is_wanted: Callable[[], bool],
        tenant: Tenant | None = None,
    ) -> Failure | None:
        """Return why the ID token of a login must not be used, None if its signature is valid.

        While the provider's keys can't be had, they are requested again, for 30 s or until the login is not wanted.
        """
        deadline = anyio.current_time() + KEYS_PATIENCE
        for attempts in itertools.count(1):
            failure = await self.problem(account, client_secret, token, tenant=tenant)
            pause = None
            if failure is not None and may_pass(failure) and is_wanted():
                pause = pause_after(failure, attempts, deadline - anyio.current_time())
            if pause is None:
                return failure
            await anyio.sleep(pause)
        raise AssertionError("the last attempt returns")

    async def _mac_problem(
        self, account: Account, client_secret: Secret | None, token: Secret, algorithm: str, noun: str
    ) -> Failure | None:
        if client_secret is None:
            reason = f"the {noun} is signed with the client's secret ({algorithm}), and the client has none"
            return Misconfigured(reason, keys=(_ALGORITHM, "token_endpoint_auth_method"))
        if not id_token.names_only_audience(id_token.claims(token) or {}, account.client_id):  # item 8
            return Unusable(f"the {noun} is signed with the client's secret, and is meant for other clients, too")
        if len(client_secret.reveal().encode()) < MAC_LENGTHS[algorithm]:
            _log.warning("client_secret account=%s shorter_than=%s", account.name, algorithm)
        forgery = await self._signatures.mac_problem(token, client_secret, algorithm, noun)
        return None if forgery is None else Unusable(forgery)
