"""What is known of refresh tokens that were replaced."""

import sys

from auth_agent.secret import Secret
from auth_agent.sessions.fingerprints import Fingerprints

NEW = Secret("new")


def test_a_token_never_seen_is_not_replaced() -> None:
    assert Fingerprints().is_replaced(NEW) is False


def test_a_token_whose_successor_came_is_replaced_and_its_successor_is_not() -> None:
    known = Fingerprints()
    known.replaced(Secret("first"), Secret("second"))
    assert (known.is_replaced(Secret("first")), known.is_replaced(Secret("second"))) == (True, False)


def test_a_token_that_its_provider_hands_out_again_is_good_again() -> None:
    known = Fingerprints()
    known.replaced(Secret("first"), Secret("second"))
    known.replaced(Secret("second"), Secret("first"))
    assert (known.is_replaced(Secret("first")), known.is_replaced(Secret("second"))) == (False, True)


def test_the_newest_ten_thousand_are_remembered_and_the_oldest_makes_room() -> None:
    known = Fingerprints()
    for number in range(10_001):
        known.replaced(Secret(str(number)), NEW)
    forgotten = [number for number in range(10_001) if not known.is_replaced(Secret(str(number)))]
    assert forgotten == [0]


def test_a_token_that_comes_up_again_is_remembered_as_new() -> None:
    known = Fingerprints()
    for number in range(10_000):
        known.replaced(Secret(str(number)), NEW)
    known.replaced(Secret("0"), NEW)
    known.replaced(Secret("one more"), NEW)
    assert (known.is_replaced(Secret("0")), known.is_replaced(Secret("1"))) == (True, False)


def test_the_tokens_themselves_are_not_kept() -> None:
    known = Fingerprints()
    token = Secret("a text of its own" * 2)
    held = sys.getrefcount(token), sys.getrefcount(token.reveal())
    known.replaced(token, NEW)
    assert known.is_replaced(token)
    assert (sys.getrefcount(token), sys.getrefcount(token.reveal())) == held


def test_what_was_sent_is_not_new_and_not_replaced_either() -> None:
    known = Fingerprints()
    assert known.is_new(NEW)
    known.sent(NEW)
    assert (known.is_new(NEW), known.is_replaced(NEW)) == (False, False)


def test_what_was_replaced_in_the_past_is_known_by_its_fingerprint_alone() -> None:
    known = Fingerprints()
    known.remember_replaced(Secret("old").fingerprint())
    assert (known.is_new(Secret("old")), known.is_replaced(Secret("old"))) == (False, True)


def test_a_token_that_its_provider_does_not_replace_stays_good() -> None:
    known = Fingerprints()
    known.sent(NEW)
    known.replaced(NEW, NEW)
    assert not known.is_replaced(NEW)
