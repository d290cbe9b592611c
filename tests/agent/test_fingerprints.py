"""Fingerprints of refresh tokens that were sent or replaced."""

import sys
from unittest.mock import patch

from hypothesis import given, strategies as st

from auth_agent.secret import Secret
from auth_agent.sessions import fingerprints as module
from auth_agent.sessions.fingerprints import MAX_FINGERPRINTS, Fingerprints

NEW = Secret("new")


ACCOUNTS, TOKENS = st.sampled_from(["work", "home"]), st.sampled_from([Secret(each) for each in "abcdef"])
MOST = 3


class Model:
    """Remembers the same, and finds it by a look through all accounts."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[str, bool]] = {"work": {}, "home": {}}

    def record_sent(self, account: str, token: Secret) -> None:
        self._remember(account, token, replaced=self.is_replaced(token))

    def record_successor(self, account: str, old: Secret, new: Secret) -> None:
        if old != new:
            for known in self._accounts.values():
                known.pop(new.fingerprint(), None)
            self._remember(account, old, replaced=True)

    def is_replaced(self, token: Secret) -> bool:
        return any(known.get(token.fingerprint(), False) for known in self._accounts.values())

    def is_new(self, token: Secret) -> bool:
        return not any(token.fingerprint() in known for known in self._accounts.values())

    def _remember(self, account: str, token: Secret, *, replaced: bool) -> None:
        known = self._accounts[account]
        known.pop(token.fingerprint(), None)
        known[token.fingerprint()] = replaced
        if len(known) > MOST:
            del known[next(iter(known))]


@given(st.lists(st.tuples(ACCOUNTS, TOKENS, st.none() | TOKENS), max_size=40))
def test_the_index_says_what_a_look_through_all_accounts_says(steps: list[tuple[str, Secret, Secret | None]]) -> None:
    fingerprints, model = Fingerprints(), Model()
    with patch.object(module, "MAX_FINGERPRINTS", MOST):
        for account, token, successor in steps:
            for each in (fingerprints, model):
                if successor is None:
                    each.record_sent(account, token)
                else:
                    each.record_successor(account, token, successor)
            for letter in "abcdef":
                secret = Secret(letter)
                found = fingerprints.is_new(secret), fingerprints.is_replaced(secret)
                assert found == (model.is_new(secret), model.is_replaced(secret))


def test_an_unknown_token_is_not_replaced() -> None:
    assert Fingerprints().is_replaced(NEW) is False


def test_a_token_with_a_successor_is_replaced_and_the_successor_is_not() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_successor("work", Secret("first"), Secret("second"))
    assert (fingerprints.is_replaced(Secret("first")), fingerprints.is_replaced(Secret("second"))) == (True, False)


def test_a_token_that_the_provider_issues_again_is_no_longer_replaced() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_successor("work", Secret("first"), Secret("second"))
    fingerprints.record_successor("work", Secret("second"), Secret("first"))
    assert (fingerprints.is_replaced(Secret("first")), fingerprints.is_replaced(Secret("second"))) == (False, True)


def test_the_newest_of_an_account_are_remembered() -> None:
    fingerprints = Fingerprints()
    for number in range(MAX_FINGERPRINTS + 1):
        fingerprints.record_successor("work", Secret(str(number)), NEW)
    forgotten = [number for number in range(MAX_FINGERPRINTS + 1) if not fingerprints.is_replaced(Secret(str(number)))]
    assert forgotten == [0]


def test_the_tokens_of_one_account_displace_no_others() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_successor("work", Secret("old"), NEW)
    fingerprints.record_sent("work", Secret("sent"))
    for number in range(2 * MAX_FINGERPRINTS):
        fingerprints.record_successor("home", Secret(str(number)), NEW)
    assert fingerprints.is_replaced(Secret("old"))
    assert not fingerprints.is_new(Secret("sent"))


def test_a_token_that_the_provider_issues_again_to_another_account_is_not_replaced() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_successor("work", Secret("first"), Secret("second"))
    fingerprints.record_successor("renamed", Secret("second"), Secret("first"))
    assert not fingerprints.is_replaced(Secret("first"))


def test_a_replaced_token_that_is_sent_stays_replaced() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_successor("work", Secret("old"), NEW)
    fingerprints.record_sent("renamed", Secret("old"))
    fingerprints.record_sent("work", Secret("old"))
    assert fingerprints.is_replaced(Secret("old"))


def test_a_token_that_is_recorded_again_becomes_the_newest() -> None:
    fingerprints = Fingerprints()
    for number in range(MAX_FINGERPRINTS):
        fingerprints.record_successor("work", Secret(str(number)), NEW)
    fingerprints.record_successor("work", Secret("0"), NEW)
    fingerprints.record_successor("work", Secret("one more"), NEW)
    assert (fingerprints.is_replaced(Secret("0")), fingerprints.is_replaced(Secret("1"))) == (True, False)


def test_no_reference_to_the_tokens_is_kept() -> None:
    fingerprints = Fingerprints()
    token = Secret("a unique string" * 2)
    counts = sys.getrefcount(token), sys.getrefcount(token.reveal())
    fingerprints.record_successor("work", token, NEW)
    assert fingerprints.is_replaced(token)
    assert (sys.getrefcount(token), sys.getrefcount(token.reveal())) == counts


def test_a_sent_token_is_neither_new_nor_replaced() -> None:
    fingerprints = Fingerprints()
    assert fingerprints.is_new(NEW)
    fingerprints.record_sent("work", NEW)
    assert (fingerprints.is_new(NEW), fingerprints.is_replaced(NEW)) == (False, False)


def test_a_replaced_token_is_recognized_by_its_fingerprint_alone() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_replaced("work", Secret("old").fingerprint())
    assert (fingerprints.is_new(Secret("old")), fingerprints.is_replaced(Secret("old"))) == (False, True)


def test_a_token_that_the_provider_returns_again_is_not_replaced() -> None:
    fingerprints = Fingerprints()
    fingerprints.record_sent("work", NEW)
    fingerprints.record_successor("work", NEW, NEW)
    assert not fingerprints.is_replaced(NEW)
