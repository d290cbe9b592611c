"""ID tokens for programs that need to prove who is logged in."""

from typing import Any

import pytest

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.identity import id_token_unavailable, usable_id_token
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials
from auth_agent_client import errors
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, account, jwt, token_response

NOW = Moment(NOON, 5_000)


def session_with(id_token: Secret | None, **more: Any) -> Session:
    account_ = account(**more)
    session = Session(account_, chance=0.0)
    grant_type = account_.grant_type
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), id_token, grant_type=grant_type)
    session.log_in(credentials, session.access_token(token_response(), credentials, NOW), NOW)
    return session


def test_an_id_token_is_returned_if_it_is_valid_for_min_ttl() -> None:
    token = jwt(sub=ALICE, exp=NOON + 100)
    assert usable_id_token(session_with(token), 99, NOW) == (token, NOON + 100)
    assert usable_id_token(session_with(token), 100, NOW) is None
    assert usable_id_token(session_with(token), None, NOW.after(100)) is None


@pytest.mark.parametrize("claims", [{}, {"exp": None}, {"exp": "x"}, {"exp": True}, {"exp": float("inf")}])
def test_an_id_token_without_a_valid_exp_is_not_returned(claims: dict[str, object]) -> None:
    assert usable_id_token(session_with(jwt(**claims)), None, NOW) is None


def test_the_error_says_why_a_session_has_no_id_token() -> None:
    assert usable_id_token(session_with(None), None, NOW) is None  # a refresh may bring one
    with pytest.raises(errors.Unsupported) as raised:
        usable_id_token(session_with(None, scope="offline_access"), None, NOW)
    assert [remedy.command[-2:] for remedy in raised.value.remedy] == [("--scope", "openid offline_access")]
    with pytest.raises(errors.Unsupported) as raised:  # without the provider's keys in the account there are none
        usable_id_token(session_with(None, token_endpoint=f"{ISSUER}token"), None, NOW)
    assert raised.value.remedy == ()
    keys = {"token_endpoint": f"{ISSUER}token", "jwks_uri": f"{ISSUER}jwks"}
    assert usable_id_token(session_with(None, **keys), None, NOW) is None
    with pytest.raises(errors.Unsupported) as raised:
        usable_id_token(session_with(None, grant_type=CLIENT_CREDENTIALS), None, NOW)
    assert raised.value.remedy == ()
    logged_out = session_with(jwt(exp=NOON + 100))
    logged_out.log_out()
    with pytest.raises(errors.LoginRequired):
        usable_id_token(logged_out, None, NOW)


def test_a_refresh_without_a_new_id_token_leads_to_an_error_with_a_remedy() -> None:
    error = id_token_unavailable(session_with(jwt(exp=NOON + 100)), NOW)
    assert isinstance(error, errors.LifetimeTooShort)
    assert error.lifetime == 100
    for id_token in (None, jwt(exp=NOON - 1)):
        error = id_token_unavailable(session_with(id_token), NOW)
        assert isinstance(error, errors.Denied)
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]
