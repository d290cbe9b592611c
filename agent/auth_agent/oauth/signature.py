"""The check of an ID token's signature (OpenID Connect Core 1.0, section 3.1.3.7, item 6), in the worker process."""

from typing import Final, Protocol

import anyio

from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.worker.process import Worker, WorkerError
from auth_agent.worker.vocabulary import SIGNATURES

# Seconds for one check. It takes milliseconds; to start the process and load the library, half a second.
_LIMIT: Final = 20.0


class SignatureCheckError(Exception):
    """Nothing is known of the signature; the text can be printed."""


class Signatures(Protocol):
    """What a login needs to know who signed its ID token."""

    async def problem(self, id_token: Secret, keys: str) -> str | None:
        """What is wrong with an ID token's signature, as a text that can be printed; None when it is good.

        Args:
            id_token: the token.
            keys: the provider's JWK set, as it is written.

        Raises:
            SignatureCheckError: it can't be told.

        """
        ...


class WorkerSignatures:
    """Checks in a worker process of its own: the store's may be waiting for a locked keyring.

    Logins are rare, and a process with that library has 40 MB: it lives for one check.
    """

    def __init__(self) -> None:
        """Make one; no process is started before there is something to check."""
        self._worker = Worker(SIGNATURES)
        self._turn = anyio.Lock()

    async def problem(self, id_token: Secret, keys: str) -> str | None:
        """What is wrong with an ID token's signature, as a text that can be printed; None when it is good.

        One check at a time; each within 20 s of its turn.

        Raises:
            SignatureCheckError: it can't be told.

        """
        async with self._turn:
            try:
                answer = await self._worker.call("verify", _LIMIT, token=id_token.reveal(), keys=keys)
            except WorkerError as error:
                raise SignatureCheckError(f"the ID token's signature can't be checked: {error}") from error
            await self._worker.release()
        problem = answer.get("result", False)
        if problem is None:
            return None
        if not isinstance(problem, str):  # what is no answer is no good signature
            raise SignatureCheckError("the ID token's signature can't be checked: the worker process failed")
        return printable(problem)

    async def release(self) -> None:
        """Let the worker process end, if there is one."""
        await self._worker.release()
