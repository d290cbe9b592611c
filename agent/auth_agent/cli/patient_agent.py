"""The agent for commands that may wait for a provider: at a terminal a person reads whom they wait for.

Light commands import this module, so it imports nothing slow before there is something to print.
"""

import select
import socket
import sys
import time
from collections.abc import Mapping

from auth_agent.cli.exits import print_error
from auth_agent.cli.global_options import Verbosity
from auth_agent.printable import printable
from auth_agent_client.call import Call
from auth_agent_client.client import Agent
from auth_agent_client.errors import AgentError
from auth_agent_client.login import Login
from auth_agent_client.messages import LOCKED
from auth_agent_client.pool import Pool
from auth_agent_client.status import Status
from auth_agent_client.waiting import Blocking, Late, finish

# Seconds without an answer after which a person would wonder. The agent answers from memory in less than a thousandth.
_SILENCE = 1.0
# Seconds that the agent may take to say whom it waits for.
_PATIENCE = 1.0


class PatientAgent(Agent):
    """A client that prints, once for each host, whom the command waits for if no answer comes within a second.

    It prints that on standard error, and only if that is a terminal and not with `--quiet`, as git and gh do with
    their progress.
    """

    def __init__(self) -> None:
        super().__init__()
        self._notice: _WaitingNotice | None = None
        if sys.stderr.isatty() and not Verbosity.quiet:
            self._waits = self._notice = _WaitingNotice(self._pool.path)
            self._pool = Pool(self._pool.path, self._waits, most_idle=1)

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """Call a method of the protocol, as `Agent.call` does."""
        if "login_id" not in parameters:  # that login's account is noted
            self._note(parameters.get("account"), parameters.get("url"))
        return super().call(method, parameters)

    def login(
        self,
        account: str | None = None,
        *,
        flow: str = "browser",
        switch_user: bool = False,
        client_secret: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Login:
        """Begin a login, as `Agent.login` does."""
        self._note(account)
        return super().login(
            account, flow=flow, switch_user=switch_user, client_secret=client_secret, parameters=parameters
        )

    def _note(self, account: object, url: object = None) -> None:
        """Note which account the next answer is about."""
        if self._notice is not None:
            self._notice.account = account
            self._notice.is_known = url is None


class _WaitingNotice(Blocking):
    """Waits with system calls, and prints whom it waits for.

    `account`: the account that the answer is about; None: the default account, or if not `is_known` that of a URL.
    """

    def __init__(self, path: str) -> None:
        self.account: object = None
        self.is_known = True
        self._path = path
        self._announced: set[str] = set()

    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        soon = time.monotonic() + _SILENCE
        if deadline is None or soon < deadline:
            try:
                return await super().readable(connection, soon)
            except Late:
                self._announce(connection)
        return await super().readable(connection, deadline)

    def _announce(self, connection: socket.socket) -> None:
        awaited = self._awaited()
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if awaited in self._announced or poll.poll(0):  # the answer has come meanwhile
            return
        self._announced.add(awaited)
        print_error(f"waiting for {awaited}; Ctrl-C stops waiting")

    def _awaited(self) -> str:
        """Return whom the agent waits for, as it knows: the provider's host, or the keyring."""
        # On a connection of its own: the other one is waited for.
        pool, call = Pool(self._path, Blocking(), most_idle=0), Call("status", {"account": self.account})
        call.deadline = time.monotonic() + _PATIENCE
        try:
            return awaited_by(finish(pool.call(call)).value, self.account, is_known=self.is_known)
        except AgentError:
            return "the agent"


def awaited_by(status: Mapping[str, object], account: object, *, is_known: bool = True) -> str:
    """Return whom the agent waits for, from its status: for that account, or the default one, if it `is_known`."""
    from urllib.parse import urlsplit  # noqa: PLC0415 -- slow, and whoever reads the notice waits anyway

    result = Status(status)
    name = account or (result.agent.default if is_known else None)
    # The account of a URL is among those that are being refreshed.
    records = [one for one in result.accounts if (one.account == name if name else one.renewal == "running")]
    if len(records) != 1:
        return "the provider"
    if records[0].state == LOCKED:
        return "the keyring" if result.agent.store.name == "keyring" else "the store"
    try:
        host = urlsplit(records[0].issuer or "").netloc
    except ValueError:
        host = ""
    return printable(host) or "the provider"
