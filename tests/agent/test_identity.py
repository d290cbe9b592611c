"""ID tokens for programs that have to show who is logged in."""

from typing import Any

import pytest

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.identity import id_token_at_hand, no_id_token
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials
from auth_agent_client import errors
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, account, jwt, reply

NOW = Moment(NOON, 5_000)


def session(id_token: Secret | None, **more: Any) -> Session:
    one = Session(account(**more), chance=0.0)
    login = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), id_token, grant_type=one.account.grant_type)
    one.log_in(login, one.access_token(reply(), login, NOW), NOW)
    return one


def test_an_id_token_that_is_good_for_so_long_is_at_hand() -> None:
    token = jwt(sub=ALICE, exp=NOON + 100)
    assert id_token_at_hand(session(token), 99, NOW) == (token, NOON + 100)
    assert id_token_at_hand(session(token), 100, NOW) is None
    assert id_token_at_hand(session(token), None, NOW.after(100)) is None


@pytest.mark.parametrize("claims", [{}, {"exp": None}, {"exp": "x"}, {"exp": True}, {"exp": float("inf")}])
def test_one_that_does_not_say_until_when_is_not_served(claims: dict[str, object]) -> None:
    assert id_token_at_hand(session(jwt(**claims)), None, NOW) is None


def test_who_has_none_is_told_why() -> None:
    assert id_token_at_hand(session(None), None, NOW) is None  # a refresh may bring one
    with pytest.raises(errors.Unsupported, match="has no openid"):
        id_token_at_hand(session(None, scope="offline_access"), None, NOW)
    with pytest.raises(errors.Unsupported, match="nobody is logged in there"):
        id_token_at_hand(session(None, grant_type=CLIENT_CREDENTIALS), None, NOW)
    gone = session(jwt(exp=NOON + 100))
    gone.log_out()
    with pytest.raises(errors.LoginRequired):
        id_token_at_hand(gone, None, NOW)


def test_after_a_refresh_that_brought_none_it_is_said_what_helps() -> None:
    short = no_id_token(session(jwt(exp=NOON + 100)), NOW)
    assert isinstance(short, errors.LifetimeTooShort)
    assert short.lifetime == 100
    for old in (None, jwt(exp=NOON - 1)):
        none = no_id_token(session(old), NOW)
        assert isinstance(none, errors.Denied)
        assert [remedy.line for remedy in none.remedy] == ["auth-agent login work"]
