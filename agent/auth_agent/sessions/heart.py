"""Creates the components that act on the sessions of a table, and connects them to each other."""

import random
from collections.abc import Callable

from anyio.abc import TaskGroup

from auth_agent.config import Account
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.signature import Signatures
from auth_agent.sessions.access import Access
from auth_agent.sessions.admission import Admission
from auth_agent.sessions.agent_lock import AgentLock, SealedEntries
from auth_agent.sessions.background import Background
from auth_agent.sessions.eraser import Eraser
from auth_agent.sessions.identification import Identification
from auth_agent.sessions.login import Logins
from auth_agent.sessions.profiles import Profiles
from auth_agent.sessions.prover import Prover
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.table import Table
from auth_agent.sessions.token_client import TokenClient
from auth_agent.sessions.userinfo_client import UserInfoClient
from auth_agent.sessions.users import Users
from auth_agent.sessions.verifier import Verifier


class Heart:
    """The components that act on sessions.

    `provider_for` returns an account's provider; `new_sealed_entries` makes what a passphrase of `lock` seals; `chance`
    returns random numbers in [0, 1), which spread refreshes.
    """

    def __init__(
        self,
        table: Table,
        saver: Saver,
        provider_for: Callable[[Account], Provider],
        signatures: Signatures,
        new_sealed_entries: Callable[[], SealedEntries],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.table = table
        self.saver = saver
        self.background = Background(saver)
        tokens = TokenClient(table, provider_for, saver.fingerprints)
        self.refresher = Refresher(table, tokens, saver, self.background, chance)
        self.refresher.on_over = Eraser(table, saver, self.background, provider_for).look
        saver.on_restored = self.refresher.attend_to
        verifier = Verifier(provider_for, signatures)
        userinfo = UserInfoClient(provider_for, verifier)
        admission = Admission(
            table, self.refresher, tokens, self.background, saver, provider_for, verifier, Identification(userinfo)
        )
        self.logins = Logins(table, tokens, self.background, admission, provider_for)
        access = Access(self.refresher)
        self.profiles = Profiles(table, saver, access, userinfo)
        self.users = Users(table, saver, access, provider_for)
        self.prover = Prover(table, saver, self.background, provider_for)
        self.lock = AgentLock(table, saver, self.refresher, self.logins, self.background, new_sealed_entries)

    def run_in(self, work: TaskGroup) -> None:
        """Start all of them in that task group but the refresher, which has to stop before the work that it started."""
        self.background.run_in(work)
        work.start_soon(self.saver.run)
        work.start_soon(self.profiles.run)
