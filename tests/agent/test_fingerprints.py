"""What is known of refresh tokens that were sent or replaced."""

import sys

from auth_agent.secret import Secret
from auth_agent.sessions.fingerprints import Fingerprints


def test_a_token_never_seen_is_not_replaced() -> None:
    assert Fingerprints().is_replaced(Secret("new")) is False


def test_a_token_that_was_sent_is_not_replaced_by_that() -> None:
    known = Fingerprints()
    known.sent(Secret("token"))
    assert known.is_replaced(Secret("token")) is False


def test_a_token_whose_successor_came_is_replaced_and_no_other_is() -> None:
    known = Fingerprints()
    known.sent(Secret("first"))
    known.replaced(Secret("first"))
    known.sent(Secret("second"))
    assert (known.is_replaced(Secret("first")), known.is_replaced(Secret("second"))) == (True, False)


def test_a_replaced_token_that_is_sent_again_stays_replaced() -> None:
    known = Fingerprints()
    known.replaced(Secret("token"))
    known.sent(Secret("token"))
    assert known.is_replaced(Secret("token")) is True


def test_the_newest_ten_thousand_are_remembered_and_the_oldest_makes_room() -> None:
    known = Fingerprints()
    for number in range(10_001):
        known.replaced(Secret(str(number)))
    forgotten = [number for number in range(10_001) if not known.is_replaced(Secret(str(number)))]
    assert forgotten == [0]


def test_a_token_that_comes_up_again_is_remembered_as_new() -> None:
    known = Fingerprints()
    for number in range(10_000):
        known.replaced(Secret(str(number)))
    known.sent(Secret("0"))
    known.sent(Secret("one more"))
    assert (known.is_replaced(Secret("0")), known.is_replaced(Secret("1"))) == (True, False)


def test_the_tokens_themselves_are_not_kept() -> None:
    known = Fingerprints()
    token = Secret("a text of its own" * 2)
    held = sys.getrefcount(token), sys.getrefcount(token.reveal())
    known.sent(token)
    known.replaced(token)
    assert known.is_replaced(token)
    assert (sys.getrefcount(token), sys.getrefcount(token.reveal())) == held
