"""The check of an ID token's signature (OpenID Connect Core 1.0, section 3.1.3.7, item 6), in the worker process."""

from typing import Final, Protocol

import anyio

from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.worker.process import Worker, WorkerError
from auth_agent.worker.vocabulary import SIGNATURES

# Seconds for one check. It takes milliseconds; to start the process and load the library, half a second.
_TIMEOUT: Final = 20.0


class SignatureCheckError(Exception):
    """The signature could not be checked; the message is safe to print."""


class Signatures(Protocol):
    """Checks the signatures of ID tokens, and of UserInfo responses."""

    async def problem(
        self, token: Secret, keys: str, algorithm: str | None = None, noun: str = "ID token"
    ) -> str | None:
        """Return what is wrong with a token's signature, safe to print; None if it is valid.

        Args:
            token: the token.
            keys: the provider's JWK set, as JSON.
            algorithm: the only one that may have signed it; None: any that needs one of these keys.
            noun: what the token is.

        Raises:
            SignatureCheckError: the signature could not be checked.

        """
        ...

    async def mac_problem(self, token: Secret, client_secret: Secret, algorithm: str, noun: str) -> str | None:
        """The same, for a token that is signed with the client's secret by that algorithm, and no other."""
        ...


class WorkerSignatures:
    """Checks signatures in a worker process of its own: the store's may be waiting for a locked keyring.

    Logins are rare, and a process with that library takes 40 MB, so it ends once no other check waits.
    """

    def __init__(self) -> None:
        """Create one; the process is started by the first check."""
        self._worker = Worker(SIGNATURES)
        self._checks = 0  # that run or wait

    async def problem(
        self, token: Secret, keys: str, algorithm: str | None = None, noun: str = "ID token"
    ) -> str | None:
        """Return what is wrong with a token's signature, safe to print; None if it is valid.

        Checks run one at a time; each takes at most 20 s.

        Raises:
            SignatureCheckError: the signature could not be checked.

        """
        return await self._call("verify", token, noun, keys=keys, algorithm=algorithm or "")

    async def mac_problem(self, token: Secret, client_secret: Secret, algorithm: str, noun: str) -> str | None:
        """The same, for a token that is signed with the client's secret by that algorithm, and no other."""
        return await self._call("verify_mac", token, noun, secret=client_secret.reveal(), algorithm=algorithm)

    async def _call(self, call: str, token: Secret, noun: str, **more: str) -> str | None:
        self._checks += 1
        try:
            response = await self._worker.call(call, _TIMEOUT, token=token.reveal(), noun=noun, **more)
        except WorkerError as error:
            raise SignatureCheckError(f"the {noun}'s signature can't be checked: {error}") from error
        finally:
            self._checks -= 1
            if not self._checks:
                with anyio.CancelScope(shield=True):  # this check may have been cancelled as its turn came
                    await self._worker.release()
        problem = response.get("result", False)
        if problem is None:
            return None
        if not isinstance(problem, str):  # an invalid response does not make a signature valid
            raise SignatureCheckError(f"the {noun}'s signature can't be checked: the worker process failed")
        return printable(problem)

    async def release(self) -> None:
        """Let the worker process end, if there is one."""
        await self._worker.release()
