"""Whether a response may be used for the session that requested it."""

from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.state import Credentials
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, jwt, token_response


def test_what_an_id_token_leaves_out_still_holds_for_the_next_one() -> None:
    def id_token(**claims: object) -> Secret:
        return jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, **claims)

    def refreshed(before: Credentials, **claims: object) -> Credentials:
        response = token_response(id_token=id_token(**claims))
        after = accept(before, response, Moment(NOON, 5_000.0))
        assert isinstance(after, Credentials)
        return after

    session = Credentials(ISSUER, CLIENT, None, ALICE, None, Secret("rt"), id_token(nonce="n", auth_time=NOON))
    for auth_time in (None, "earlier"):  # not valid: it says nothing
        session = refreshed(session, auth_time=auth_time)
        assert session.id_token_problem == ""
    assert "nonce" in refreshed(session, nonce="another").id_token_problem
    assert "auth_time" in refreshed(session, auth_time=NOON - 1).id_token_problem
    later = refreshed(session, nonce="n", auth_time=NOON + 60)
    assert later.id_token_problem == ""
    assert "auth_time" in refreshed(refreshed(later), auth_time=NOON).id_token_problem
