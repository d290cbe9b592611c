"""The sentences that people read, one example each, in one table.

Other tests assert what a program reads: the class of an error, its code, `failure` and `remedy`. The wording is
asserted here alone, so that it can be improved in one place. A row is what happens, and the complete sentence for it.
"""

import asyncio
import base64
import errno
import os
import pickle
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import chdir, closing
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final
from unittest.mock import patch

import anyio
import msgpack
import pytest

from auth_agent import config, remedies
from auth_agent.cli import agent_process
from auth_agent.cli.assignments import assignments
from auth_agent.cli.condition import condition_of
from auth_agent.config import Account, Config, config_path
from auth_agent.config_file import put_accounts, remove_account
from auth_agent.errors import StartupError
from auth_agent.host.clock import Clock, Moment
from auth_agent.hosts import HostRule, read_key, read_url
from auth_agent.ipc.arguments import Arguments
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.url import resolve_url
from auth_agent.json_object import read_object
from auth_agent.loopback import page
from auth_agent.oauth.auth0 import InsufficientScope, parse_user
from auth_agent.oauth.authorization import AuthorizationRequest, read_redirect
from auth_agent.oauth.certificates import trusted_certificates
from auth_agent.oauth.challenge import WantedLogin
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import parse_device_authorization, parse_poll_response
from auth_agent.oauth.discovery import parse_metadata
from auth_agent.oauth.entra import Tenant
from auth_agent.oauth.http_client import MAX_BODY
from auth_agent.oauth.id_token import login_problem
from auth_agent.oauth.outcome import Failure, TokenResponse, Unsent
from auth_agent.oauth.provider import HttpProvider
from auth_agent.oauth.requests import parse_token_response
from auth_agent.oauth.transport import Transport
from auth_agent.oauth.userinfo import parse_userinfo, signed_claims
from auth_agent.proxies import Proxies, account_proxies, environment_proxies
from auth_agent.remedies import LOGIN
from auth_agent.secret import Secret
from auth_agent.sessions import advice
from auth_agent.sessions.acceptance import accept, over_already
from auth_agent.sessions.agent_lock import LOCKED
from auth_agent.sessions.decision import Demand, decide
from auth_agent.sessions.entry import load
from auth_agent.sessions.identity import id_token_unavailable, usable_id_token
from auth_agent.sessions.recovery import GONE, INTERRUPTED, OLD_COPY
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, Active, Credentials, Locked, Retrying, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.storage.lock import StoreLock
from auth_agent.storage.state_directory import state_path
from auth_agent.storage.stores import store_in_use
from auth_agent.urls import check_issuer, check_url
from auth_agent.worker.signatures import verify, verify_mac
from auth_agent_client import errors
from auth_agent_client.call import Call
from auth_agent_client.errors import from_wire
from auth_agent_client.messages import check
from auth_agent_client.paths import socket_path
from auth_agent_client.place import check_place
from auth_agent_client.profile import map_from, profile_from
from auth_agent_client.remedy import Remedy
from auth_agent_client.token import id_token_from, token_from
from auth_agent_client.wire import MAX_VALUES, Connection, Request, WireError
from tests.agent.test_page import text_of
from tests.agent.test_signatures import key, key_set, public_key, sign
from tests.agent.test_systemd import adopt_socket
from tests.agent.world import jwt
from tests.faults.hostile_server import METADATA, HostileServer, Responder, plain, raw

# What happens (it raises, or returns something that has the sentence), and the sentence.
Example = tuple[Callable[[], object], str]

URLS: Final[list[Example]] = [
    (
        lambda: check_url("http://acme.example/"),
        "'http://acme.example/' must begin with https:// (http:// is for this machine only)",
    ),
    (
        lambda: check_issuer("https://acme.example/{tenantid}"),
        "'https://acme.example/{tenantid}' is a template; write the tenant's id in place of the braces",
    ),
    (
        lambda: check_issuer("https://a/.well-known/openid-configuration"),
        (
            "'https://a/.well-known/openid-configuration' is where the provider's metadata is; write the issuer "
            "that it names, such as 'https://a'"
        ),
    ),
]

# ---- agent: sessions

WORK: Final = Account("work", "https://acme.example/", "native-app", audience="https://api.example")
THEN: Final = Moment(1_800_000_000, 5_000)
CALENDAR: Final = TokenKey("https://calendar.example", "read")


def credentials(account: Account, id_token: Secret | None = None) -> Credentials:
    client = account.issuer, account.client_id, account.audience
    return Credentials(*client, "alice", "Alice", Secret("rt"), id_token, grant_type=account.grant_type)


def session(account: Account = WORK, id_token: Secret | None = None) -> Session:
    """Return a session whose token was issued at `THEN`, for an hour."""
    new = Session(account, chance=0.0)
    granted = TokenResponse(Secret("at"), "Bearer", 3600, None, None, None)
    token = new.access_token(granted, credentials(account, id_token), THEN)
    new.log_in(credentials(account, id_token), token, THEN)
    return new


def configured_anew() -> Session:
    """Return a session whose account has another audience now."""
    changed = session()
    changed.configure(replace(WORK, audience="https://new.example"))
    return changed


def rejected_by_api() -> object:
    """Return the error for a client whose API rejects the token that was just issued."""
    return session().reject(MAIN, Secret("at"), THEN)


def after_failure(reason: str, seconds: float = 0, key: TokenKey = MAIN) -> errors.AgentError:
    """Return the error for a client after a failed refresh; the next attempt is in that many seconds."""
    next_at = THEN.after(seconds)
    retrying = Retrying(Unsent(reason), failures=1, failed_at=THEN, retry_at=next_at, not_before=next_at)
    return advice.refresh_failed(WORK, retrying, THEN, key)


def token_response(access_token: str | None = "at", *, scope: str | None = None, sub: str | None = None) -> object:
    """Return why a response to a request for `CALENDAR` can't be used; `sub` is the subject of its ID token."""
    claims = {"iss": WORK.issuer, "aud": WORK.client_id, "sub": sub}
    id_token = None if sub is None else Secret("garbage") if sub == "" else jwt(**claims)
    token = None if access_token is None else Secret(access_token)
    return accept(credentials(WORK), TokenResponse(token, "Bearer", 5, None, scope, id_token), THEN, CALENDAR)


def token_of_tenant(path: str, tid: str) -> object:
    """Return why an ID token of Entra can't be used, for the path of its issuer; a session of `t` has that tenant."""
    base = "https://login.microsoftonline.com"
    before = replace(credentials(WORK), issuer=f"{base}/common/v2.0")
    if path == "t":
        before = replace(before, tenant=Tenant(f"{base}/t/v2.0", "t"))
    claims = {"iss": f"{base}/{path}/v2.0", "tid": tid, "aud": WORK.client_id, "sub": "1"}
    return accept(before, TokenResponse(Secret("at"), "Bearer", 5, None, None, jwt(**claims)), THEN)


def late_token() -> str | None:
    """Return what is wrong with a session whose new token had expired when it arrived."""
    late = session()
    late.start(THEN)
    granted = TokenResponse(Secret("at"), "Bearer", 5, None, None, None)
    late.settle(late.finish(late.epoch, granted, THEN, THEN.after(6), 0.5))
    return late.reason


def expired_again() -> object:
    """Return the error for a client whose token has expired again after it waited for the refresh."""
    state = session().state
    assert isinstance(state, Active)
    waits = {"waited": True, "is_configured": True, "main_is_due": False}
    return decide(WORK, state, Demand(), THEN.after(3600), **waits)[0]


def user_failed(failure: Failure) -> errors.AgentError:
    return advice.user_failed("work", replace(WORK, name="users"), failure, "update:it", "read:it update:it")


SESSIONS: Final[list[Example]] = [
    (
        lambda: advice.login_required("work", advice.ACCOUNT_CHANGED),
        "work's issuer, client_id or grant was changed in the configuration since the login",
    ),
    (lambda: advice.login_required("work", advice.ACCOUNT_REMOVED), "work is no longer in the configuration"),
    (lambda: advice.login_required("work", advice.LOGGED_OUT), "work is not logged in"),
    (
        lambda: advice.login_required("work", advice.NO_REFRESH_TOKEN),
        "work: the provider gave no refresh token, so only a login brings another access token",
    ),
    (
        lambda: advice.login_required("work", advice.TOKEN_REJECTED),
        "work: an API rejected the access token, and the provider gave no refresh token",
    ),
    (
        lambda: advice.login_required("work", advice.SESSION_EXPIRED),
        "work: the session has reached the end that the provider set for it",
    ),
    (
        lambda: advice.another_login_required(WORK, WantedLogin("insufficient_scope (read)")),
        "work: the API wants a token of another login (insufficient_scope (read))",
    ),
    (lambda: advice.login_required("work", "invalid_grant"), "work: the session has ended (invalid_grant)"),
    (
        lambda: advice.login_required("work", "invalid_grant: AADSTS53003", "refused"),
        "work: the provider refuses to renew the session: invalid_grant: AADSTS53003",
    ),
    (lambda: advice.locked("work", Locked("the keyring is locked")), "work: the keyring is locked"),
    (lambda: advice.locked("work", LOCKED), "work: the agent is locked"),
    (
        lambda: advice.locked("work", Locked(GONE)),
        "work: the store has no entry of this session any more, though nobody logged out",
    ),
    (lambda: advice.no_user("robot"), "robot: this account is the client's own: it has no user"),
    (lambda: advice.too_many_requests(7.2), "too many requests to the provider; try again in 7 s"),
    (
        lambda: advice.too_many("connections"),
        "there are too many connections, and this program has most of them; try again",
    ),
    (
        lambda: advice.lifetime_too_short(3599),
        "a new token of this provider is valid for 3599 s, less than min_ttl",
    ),
    (lambda: after_failure("no route"), "work: no route"),
    (lambda: after_failure("no route", 12), "work: no route; the next attempt is in 12 s"),
    (
        lambda: after_failure("no route", key=CALENDAR),
        "work for https://calendar.example with the scope read: no route",
    ),
    (lambda: advice.login_failed(WORK, Unsent("It is down."), LOGIN), "work: It is down"),
    (lambda: advice.login_cancelled("work", "cancelled"), "work: cancelled"),
    (
        lambda: advice.login_blocked("work", advice.ACCOUNT_REMOVED),
        "work: the account was removed from the configuration meanwhile, so what was granted is forgotten",
    ),
    (
        lambda: advice.login_blocked("work", advice.ACCOUNT_CHANGED),
        "work: the account was changed in the configuration meanwhile, so what was granted is forgotten",
    ),
    (advice.agent_ending, "the agent is stopping"),
    (advice.internal_error, "the agent has a defect"),
    (lambda: user_failed(Unsent("no answer")), "work: no answer"),
    (
        lambda: user_failed(InsufficientScope("HTTP 403")),
        "work: HTTP 403; the access token of users lacks the scope update:it",
    ),
    (lambda: token_response(None), "the provider's response has no access token"),
    (
        lambda: token_response(jwt(aud="https://api.example").reveal()),
        (
            "the provider granted a token for another audience than https://calendar.example: "
            "this session can't get tokens for that API"
        ),
    ),
    (lambda: token_response(scope="write"), "the provider granted a token without the scope read"),
    (lambda: token_response(sub=""), "the provider's ID token is not a valid JWT"),
    (lambda: token_response(sub="mallory"), "another_user: the provider responded with a token of another user"),
    (late_token, "the provider's token had already expired when it arrived"),
    (expired_again, "work: the new token has already expired"),
    (rejected_by_api, "the token was issued only recently: the API rejects it for another reason"),
    (
        lambda: configured_anew().token_key(None, None),
        "work's audience was changed in the configuration since the login, and its tokens are still for the old one",
    ),
    (
        lambda: usable_id_token(session(replace(WORK, scope="email")), None, THEN),
        "work: its scope lacks openid, which ID tokens require",
    ),
    (lambda: id_token_unavailable(session(), THEN), "work: the provider gave no new ID token at the refresh"),
    (lambda: load(Secret("{}"), "work", "", THEN), "the store's entry is not valid"),
    (lambda: load(Secret('{"version": 2}'), "work", "", THEN), "the store's entry is of a newer version of auth-agent"),
    (lambda: load(Secret('{"version": 1}'), "work", "", THEN), "the store's entry is another account's"),
    (lambda: load(Secret('{"version": 1, "account": "work"}'), "work", "", THEN), "the store's entry is incomplete"),
    (lambda: OLD_COPY, "the store's entry is an old copy: its refresh token has been replaced since"),
    (lambda: INTERRUPTED, "the agent was stopped during a refresh"),
    (lambda: pickle.dumps(Secret("x")), "a secret can't be pickled"),
    (lambda: any(Secret("x")), "a secret can't be iterated"),
]

REMEDIES: Final[list[Example]] = [
    (
        lambda: remedies.account_of_its_own("work", "https://x", "id", "https://api", None).text,
        "or make a separate account for it, and log in",
    ),
    (lambda: remedies.allow_at_the_provider("work").text, "allow it for work's client at the provider"),
    (lambda: remedies.another_listen_stream().text, "set another ListenStream= in the .socket unit"),
    (lambda: remedies.another_name().text, "or choose another name for the new account"),
    (
        lambda: remedies.add_host("git.example.com", "config.toml").text,
        'choose an account for it by [hosts."git.example.com"] with account = "NAME" in config.toml, and reload',
    ),
    (
        lambda: remedies.change_directory("git.example", "my.toml").text,
        "run the program in the directory that my.toml has for git.example, or add a rule without one, and reload",
    ),
    (lambda: remedies.ask_the_provider().text, "if it happens again, ask the provider's operator"),
    (lambda: remedies.begin().text, "see how to add an account and log in"),
    (lambda: remedies.change_account().text, "show how to change an account"),
    (lambda: remedies.choose_default("work").text, "name one, or make one the default account"),
    (lambda: remedies.check_what_the_api_expects().text, "check which audience and scope the API expects"),
    (
        lambda: remedies.correct_and_log_in("work", ["issuer", "client_id"]).text,
        "correct its issuer or client_id by --issuer or --client-id, and log in",
    ),
    (
        lambda: remedies.correct_and_reload(["issuer"]).text,
        "correct the account's issuer in the configuration, and reload it",
    ),
    (lambda: remedies.correct_configuration().text, "correct the file, and reload it"),
    (lambda: remedies.directory_mode().text, "set DirectoryMode=0700 in the .socket unit"),
    (lambda: remedies.give_secret(LOGIN, "work").text, "enter the client secret at a prompt"),
    (lambda: remedies.log_in("work").text, "log in"),
    (lambda: remedies.log_in_again("work").text, "log in again"),
    (lambda: remedies.log_in_as_the_same("work").text, "log in to it as the same user"),
    (
        lambda: remedies.log_in_at_the_source().text,
        "log in again where the refresh token came from, and import the new one",
    ),
    (lambda: remedies.log_in_before_end("work").text, "log in again before that"),
    (
        lambda: remedies.log_in_for_id_tokens("work", "email").text,
        "log in again, with the scope openid added",
    ),
    (
        lambda: remedies.log_in_for_id_tokens("work", "x" * 1000).text,
        "add openid to work's scope in the configuration, and log in again",
    ),
    (
        lambda: remedies.log_in_without_offline_access("work", "openid").text,
        "log in without offline_access, which the provider may not have",
    ),
    (
        lambda: remedies.log_in_without_offline_access("work", "").text,
        "log in with a scope that has no offline_access, which the provider may not have",
    ),
    (lambda: remedies.log_out("work").text, "log out first"),
    (lambda: remedies.log_out_and_remove("work").text, "log out, and remove it"),
    (
        lambda: remedies.management_account("work", None, "https://x", "id", "https://api", "read").text,
        "log in to get such tokens",
    ),
    (lambda: remedies.one_listen_stream().text, "set one ListenStream= in the .socket unit, and no other Listen…="),
    (
        lambda: remedies.other_ports("work")[0].text,
        "end the program that uses them; this command lists the programs",
    ),
    (
        lambda: remedies.other_ports("work")[1].text,
        "or set the account's redirect_ports to other ports, and add their callback URLs at the provider",
    ),
    (lambda: remedies.other_ports("work")[2].text, "or log in without a port, on any device"),
    (lambda: remedies.read_the_log().text, "please report it, with the line in the agent's log"),
    (lambda: remedies.refresh("work").text, "the agent retries by itself; to retry now"),
    (lambda: remedies.refresh_when_corrected("work").text, "or, after a correction at the provider, try again"),
    (lambda: remedies.restart().text, "restart it"),
    (lambda: remedies.restart_by_force().text, "restart it and lose them"),
    (lambda: remedies.stop_at("/run/x").text, "or stop that agent"),
    (lambda: remedies.stop_first().text, "stop it first"),
    (lambda: remedies.reload().text, "reload it"),
    (lambda: remedies.start().text, "start the agent in the background"),
    (lambda: remedies.install_service().text, "have it at each login"),
    (lambda: remedies.install_by_force().text, "install the service and lose them"),
    (lambda: remedies.certificates().text, "set SSL_CERT_FILE to a file with certificates, or unset it"),
    (lambda: remedies.check_network().text, "check the network, the account's issuer, and its proxy"),
    (lambda: remedies.close_file("/etc/x").text, "let nobody else write to it"),
    (
        lambda: "; ".join(remedy.text for remedy in remedies.correct_proxy("HTTPS_PROXY")),
        (
            "correct or unset HTTPS_PROXY where the agent is started, stop the agent, and start it there; "
            "or set the account's `proxy` in the configuration, and reload it"
        ),
    ),
    (
        lambda: remedies.as_yourself().text,
        "run it as that user, without sudo, or set HOME and XDG_… variables to directories that you own",
    ),
    (
        lambda: remedies.own_state_directory().text,
        "stop that agent there, or set XDG_STATE_HOME to a directory of this host alone, and log in here",
    ),
    (
        lambda: remedies.raise_limit().text,
        "raise it before the agent is started, or have a service manager start the agent",
    ),
    *(
        (lambda number=number: remedies.for_file(OSError(number, ""), "/srv")[0].text, text)
        for number, text in (
            (errno.ENOSPC, "free space, or inodes, on its file system"),
            (errno.EDQUOT, "free space: your quota of its file system is used up"),
            (errno.EROFS, "make its file system writable"),
            (errno.ENOLCK, "choose a local file system: this one, maybe of the network, has no locks"),
            (errno.EMFILE, "raise the limit of open files (ulimit -n)"),
        )
    ),
    (lambda: remedies.unset_variable("PYTHONPATH").text, "unset PYTHONPATH"),
    (
        lambda: remedies.restore_account_and_reload().text,
        "add the account to the configuration again, and reload it",
    ),
    (
        lambda: remedies.run_beside("/run/agent.sock").text,
        "or run a second agent with sessions in memory, for programs that have this AUTH_AGENT_SOCK",
    ),
    (lambda: remedies.run_in_memory().text, "keep sessions in memory only"),
    (
        lambda: remedies.same_configuration().text,
        "set AUTH_AGENT_CONFIG to the agent's file, or start the agent with this one",
    ),
    (lambda: remedies.see_status().text, "show the sessions of that agent"),
    (lambda: remedies.set_variable("XDG_STATE_HOME").text, "set XDG_STATE_HOME to a directory that you own"),
    (lambda: remedies.show_metadata("work").text, "show the current metadata"),
    (
        lambda: remedies.run_with_keyring().text,
        "on a machine without a desktop, stop the agent, and run it with a keyring",
    ),
    (lambda: remedies.start_keyring().text, "start a keyring service, such as gnome-keyring; the agent will find it"),
    (lambda: remedies.repair_and_restart().text, "when the installation is complete again, restart the agent"),
    (
        lambda: remedies.wait_for_agent().text,
        "wait ten seconds: it listens there again by itself, if it can; its log says why not",
    ),
    (lambda: remedies.free_space().text, "free space, or inodes, on its file system; the agent tries again by itself"),
    (lambda: remedies.end_agent(7).text, "or end it; sessions that are only in its memory end with it"),
    (lambda: remedies.restart_socket_unit().text, "restart the socket's unit, when no session is in memory only"),
    (lambda: remedies.stop_old_agent().text, "or stop the agent, and start another one"),
    (lambda: remedies.switch_user("work").text, "if that is intended, log in and switch the user"),
    (
        lambda: remedies.switch_user_by_import("work").text,
        "if that is intended, get another refresh token, import it and switch the user",
    ),
    (lambda: remedies.install_tool("git").text, "install git, and set it up again"),
    (lambda: remedies.take_from().text, "first remove these tables, or set another account there"),
    (
        lambda: remedies.trust_issuer().text,
        "in IAM, have an OpenID Connect provider with the account's issuer, and its client id as an audience",
    ),
    (
        lambda: remedies.trust_in_role().text,
        "let the role's trust policy allow sts:AssumeRoleWithWebIdentity for this issuer and user",
    ),
    (
        lambda: remedies.free_path("/t").text,
        "remove it, if nobody needs it, or name another file in the configuration",
    ),
    (lambda: remedies.make_folder("/d").text, "make it"),
    (lambda: remedies.close_folder("/d").text, "let nobody else write to this folder"),
    (
        lambda: remedies.own_folder().text,
        "name a file in a folder of your own, or without a folder: it is in the agent's then",
    ),
    (
        lambda: remedies.name_real_path("/data").text,
        "name the file in the configuration by its real path, below /data",
    ),
    (
        lambda: remedies.let_unit_write("/srv").text,
        "if the service's unit has ProtectSystem= or ProtectHome=, add ReadWritePaths=/srv to it",
    ),
    (
        lambda: remedies.provide_cluster_info().text,
        "set provideClusterInfo to true in the user's exec, or have that done",
    ),
    (lambda: remedies.upgrade_kubectl().text, "use kubectl 1.30 or newer, or add the user to the kubeconfig by hand"),
    (lambda: remedies.use_agents_user("prod", "auth-agent").text, "to have the agent's user instead"),
    (lambda: remedies.try_again("work").text, "try again"),
    (lambda: remedies.lock_memory()[0].text, "seal them with a passphrase"),
    (lambda: remedies.lock_memory()[1].text, "or keep them, and serve nobody"),
    (lambda: remedies.unlock_keychain()[0].text, "unlock the keychain"),
    (lambda: remedies.unlock_keyring()[0].text, "unlock the keyring in the desktop session"),
    (lambda: remedies.unlock_keyring()[1].text, "or unlock it here"),
    (lambda: remedies.unlock_store()[0].text, "unlock it"),
]

# ---- agent: storage, worker


def _lock_twice() -> None:
    """Lock a store that another agent has locked, which has not written yet who it is."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lock")
        with closing(StoreLock(path, Path("first.sock"))):
            path.write_bytes(b"")
            StoreLock(path, Path("second.sock"))


def _store_noted_by(content: str) -> str:
    """Return the store in use by a note with that content; in an error, the note is in the directory /state."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "store-in-use.json").write_text(content)
        try:
            return store_in_use(Path(directory))
        except StartupError as error:
            return str(error).replace(directory, "/state")


def _jws(header: str) -> str:
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=") + "..AA"


def _find_account(name: str | None, *names: str) -> None:
    accounts = {known: replace(WORK, name=known) for known in names}
    Table(Config(Path("config.toml"), MappingProxyType(accounts)), Clock()).session(name)


STORAGE: Final[list[Example]] = [
    (lambda: _find_account(None, "work", "home"), "which account? there is no default among: work, home"),
    (lambda: _find_account("wrok", "work", "home"), "there is no account wrok; did you mean work?"),
    (lambda: _find_account("xyz", "work", "home"), "there is no account xyz in config.toml"),
    (lambda: _find_account(None), "there are no accounts yet in config.toml"),
    (
        _lock_twice,
        "another agent already uses these sessions; two agents would end each other's sessions",
    ),
    (
        lambda: _store_noted_by("{"),
        "it is not known which store holds the sessions: /state/store-in-use.json is not valid JSON",
    ),
    (
        lambda: _store_noted_by('{"version": 2, "store": "file"}'),
        (
            "it is not known which store holds the sessions: "
            "/state/store-in-use.json is not a note that this version can read"
        ),
    ),
    (
        lambda: _store_noted_by('{"version": 1, "store": "disk"}'),
        (
            "it is not known which store holds the sessions: /state/store-in-use.json names 'disk', "
            "which is not a persistent store of this version"
        ),
    ),
    (
        lambda: Revocation(shared_with=("home", "lab")),
        (
            "revoking its refresh token may also end the sessions of home and lab, "
            "which have the same client and may have the same user"
        ),
    ),
    (
        lambda: verify(_jws('{"alg": "HS256"}'), '{"keys": []}'),
        (
            "the ID token is signed with 'HS256', which is not accepted: "
            "configure this client at the provider to use RS256 or ES256"
        ),
    ),
    (
        lambda: verify(_jws('{"alg": "RS256", "crit": []}'), '{"keys": []}'),
        "the ID token's signature needs extensions that are not supported (crit)",
    ),
    (
        lambda: verify(_jws('{"alg": "RS256"}'), '{"keys": []}'),
        "the provider has no key that a RS256 signature can be checked with (RSA keys need 2048 bits)",
    ),
    (
        lambda: verify(_jws('{"alg": "RS256", "kid": "one"}'), '{"keys": [{"kid": "two"}]}'),
        "the ID token is signed by a key ('one') that is not among the provider's",
    ),
    (lambda: verify("opaque", '{"keys": []}'), "the ID token's signature can't be read"),
    (lambda: verify("a" * ((1 << 19) + 1), '{"keys": []}'), "the ID token is too large"),
    (
        lambda: verify(_jws('{"alg": "RS256", "kid": "one"}'), '{"keys": [{"kid": "one"}]}'),
        ("the provider's key 'one' is not one that a RS256 signature can be checked with (RSA keys need 2048 bits)"),
    ),
    (
        lambda: verify(sign(key("P-256"), "ES256"), key_set(public_key(key("P-256", 2)))),
        "the ID token's signature is wrong: the provider's key did not make it",
    ),
    (lambda: verify(_jws('{"alg": "RS256"}'), "[]"), "the provider's keys can't be read"),
]

# ---- agent: oauth, loopback, ipc, host, configuration

ISSUER: Final = "https://acme.example"
CLAIMS: Final = {"iss": ISSUER, "aud": "c", "sub": "auth0|1", "iat": 1000, "exp": 2000}


def id_token_problem(**changes: object) -> Callable[[], object]:
    return lambda: login_problem({**CLAIMS, **changes}, ISSUER, "c", Secret("n"), 1000.0)


def configuration(text: str) -> Callable[[], object]:
    return lambda: config.parse(Path("FILE"), text)


def account(line: str) -> Callable[[], object]:
    return configuration(f'[accounts.work]\nissuer = "{ISSUER}"\nclient_id = "c"\n{line}')


def in_rare_form() -> None:
    """Write an account in a file whose accounts are an inline table."""
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        path = Path("accounts.toml")
        path.write_text(f'accounts = {{ work = {{ issuer = "{ISSUER}", client_id = "c" }} }}', "utf-8")
        put_accounts(path, {"work": {"scope": "openid"}})


def _resolve(**parameters: object) -> None:
    """Resolve the URL of a token request, with a rule for git.example.com."""
    rules = (
        HostRule("git.example.com", read_key("git.example.com"), "work"),
        HostRule("src.example", read_key("src.example"), "work", directory="/src"),
    )
    accounts = MappingProxyType({"work": WORK, "home": replace(WORK, name="home")})
    resolve_url(Arguments(Request(1, "token", parameters)), Config(Path("config.toml"), accounts, rules))


def authorization_response(query: str) -> Callable[[], object]:
    request = AuthorizationRequest(state=Secret("s"), nonce=Secret("n"), verifier=Secret("v"))
    return lambda: read_redirect(query, request, ISSUER, iss_parameter_supported=True)


# ---- agent: the environment


def with_variables(happens: Callable[[], object], **variables: str) -> Callable[[], object]:
    """Return what happens where only these variables are set, of a user whom the system does not know."""

    def inside() -> object:
        with patch.dict(os.environ, variables, clear=True), patch.object(os, "getuid", lambda: 54321):
            return happens()

    return inside


def in_removed_directory() -> object:
    """Return the path of the configuration where the working directory was removed."""
    with tempfile.TemporaryDirectory() as parent, chdir(parent):
        (gone := Path(parent, "gone")).mkdir()
        with chdir(gone):
            gone.rmdir()
            return config_path()


ENVIRONMENT: Final[list[Example]] = [
    (with_variables(socket_path, AUTH_AGENT_SOCK="a.sock"), "AUTH_AGENT_SOCK is not an absolute path: 'a.sock'"),
    (with_variables(state_path, XDG_STATE_HOME="state"), "XDG_STATE_HOME is not an absolute path: 'state'"),
    (with_variables(state_path), "HOME is not set, and the system has no user 54321"),
    (
        with_variables(in_removed_directory, AUTH_AGENT_CONFIG="my.toml"),
        "AUTH_AGENT_CONFIG is 'my.toml', which is relative to a working directory that was removed",
    ),
]

# ---- agent: OAuth

OAUTH: Final[list[Example]] = [
    (lambda: check_url("acme"), "'acme' must begin with https://"),
    (lambda: check_url("https://"), "'https://' is not a URL with a host and without a user name"),
    (lambda: check_url("https://[x"), "'https://[x' is not a URL"),
    (lambda: check_url("https://a/`id`"), "'https://a/`id`' has a character that a URL can't have"),
    (
        lambda: check_url("http://[::1]/", "https://acme.example/"),
        "'http://[::1]/' must begin with https://, as the issuer does",
    ),
    (lambda: check_issuer(f"{ISSUER}?"), "'https://acme.example?' has a query or a fragment; an issuer has none"),
    (lambda: read_object(b"<html>"), "is not valid JSON"),
    (lambda: read_object(b"[]"), "is not a JSON object"),
    (
        lambda: parse_metadata(ISSUER, b'{"issuer": "https://acme.example", "token_endpoint": []}'),
        "the provider's token_endpoint is not a string",
    ),
    (
        lambda: parse_metadata(ISSUER, b'{"issuer": "https://x"}'),
        "https://acme.example says that its issuer is 'https://x'",
    ),
    (lambda: parse_token_response(200, {}, b"{}", 0.0), "the provider's response can't be read"),
    (lambda: parse_token_response(503, {}, b"", 0.0), "the provider answered HTTP 503"),
    (lambda: parse_token_response(502, {}, b"", 0.0), "a gateway answered for the provider (HTTP 502)"),
    (
        lambda: parse_userinfo(429, {}, b"", 0.0),
        "the provider's UserInfo endpoint answered HTTP 429",
    ),
    (
        lambda: parse_userinfo(200, {"content-type": "application/jwt"}, b"\xff", 0.0),
        "the provider's UserInfo is not a valid JWT",
    ),
    (
        lambda: signed_claims(Secret("a.b.c.d.e"), ISSUER, "c"),
        "the provider's UserInfo is encrypted, or not a valid JWT",
    ),
    (
        lambda: signed_claims(jwt(iss="https://x"), ISSUER, "c"),
        "the provider's UserInfo is another issuer's, 'https://x'",
    ),
    (
        lambda: signed_claims(jwt(iss=ISSUER, aud="d"), ISSUER, "c"),
        "the provider's UserInfo is meant for another client",
    ),
    (
        lambda: parse_userinfo(200, {}, b'{"sub": 7}', 0.0),
        "the provider's UserInfo names a subject (sub) that is not a string of 1 to 255 ASCII characters",
    ),
    (
        lambda: verify_mac(_jws('{"alg": "RS256"}'), "s", "HS256", "UserInfo response"),
        "the UserInfo response is signed with 'RS256', not with HS256",
    ),
    (
        lambda: verify_mac(_jws('{"alg": "HS256"}'), "s", "HS256"),
        "the ID token's signature is wrong: the client's secret did not make it",
    ),
    (
        lambda: parse_token_response(302, {}, b"", 0.0),
        "the provider answered with a redirect (HTTP 302), which the agent does not follow",
    ),
    (
        lambda: parse_token_response(401, {}, b"", 0.0),
        "the provider refused and did not say why (HTTP 401)",
    ),
    (
        lambda: parse_device_authorization(200, {}, b'{"access_token": "a"}', 0.0),
        "the provider's response has no device_code",
    ),
    (
        lambda: parse_device_authorization(200, {}, b'{"device_code": "d"}', 0.0),
        "the provider's response has no user_code or no verification_uri",
    ),
    (
        lambda: parse_poll_response(400, {}, b'{"error": "authorization_pending"}', 0.0),
        "the login is not complete yet",
    ),
    (
        lambda: parse_poll_response(400, {}, b'{"error": "slow_down"}', 0.0),
        "the login is not complete yet, and the agent polled too often",
    ),
    (
        lambda: parse_poll_response(400, {}, b'{"error": "expired_token"}', 0.0),
        "the code expired before anybody entered it",
    ),
    (
        authorization_response("state=s&code=c"),
        "the authorization response is from an unknown issuer, not 'https://acme.example'; it was not used",
    ),
    (authorization_response("state=s&iss=https://acme.example"), "the authorization response has no code"),
    (id_token_problem(), "the ID token doesn't repeat this login's nonce"),
    (id_token_problem(nonce="x"), "the ID token is for another login (its nonce differs)"),
    (id_token_problem(aud=["c", 1]), "the ID token's audiences (aud) are not strings"),
    (id_token_problem(nonce="n", iat="now"), "the ID token's iat is not a time in seconds"),
    (
        id_token_problem(iss="https://evil.example"),
        "the ID token's issuer is 'https://evil.example', not 'https://acme.example'",
    ),
    (
        lambda: token_of_tenant("common", "common"),
        (
            "the ID token's issuer is 'https://login.microsoftonline.com/common/v2.0', which is not that of a tenant "
            "(tid)"
        ),
    ),
    (lambda: token_of_tenant("t", "u"), "the ID token's tenant (tid) is 'u', not 't'"),
    (
        lambda: over_already(replace(credentials(WORK), ceiling=THEN.wall + 29), THEN.wall),
        "the session that the provider granted ends now, or has ended already (session_expiry)",
    ),
    (id_token_problem(aud="d"), "the ID token is meant for another client (aud is 'd')"),
    (id_token_problem(azp="d"), "the ID token was issued to another client (azp is 'd')"),
    (id_token_problem(sub=None), "the ID token names no subject"),
    (id_token_problem(nonce="n", iat=None), "the ID token doesn't say when it was issued (iat)"),
    (id_token_problem(nonce="n", exp=None), "the ID token doesn't say when it expires (exp)"),
    (id_token_problem(nonce="n", exp=999), "the ID token expired before it was issued (exp is before iat)"),
    (id_token_problem(nonce="n", nbf=1600), "the ID token isn't valid for another 10 minutes (nbf)"),
    (
        id_token_problem(nonce="n", iat=1600),
        "this machine's clock is about 10 minutes behind the provider's (the ID token was issued later than now)",
    ),
    (
        id_token_problem(nonce="n", iat=400),
        "this machine's clock is about 10 minutes ahead of the provider's, or the ID token is that old",
    ),
    (
        id_token_problem(nonce="n", iat=800, exp=900),
        "this machine's clock is about 100 seconds ahead of the provider's, or more (the ID token has expired)",
    ),
    (lambda: parse_user(200, {}, b"", 0.0, Secret("t")), "the Management API's response can't be read"),
]

CONFIGURATION: Final[list[Example]] = [
    (account("scope = 1"), "FILE:4: accounts.work.scope: must be a non-empty string without control characters"),
    (
        account('client_secret = "x"'),
        (
            "FILE:4: accounts.work.client_secret: a client secret must not be in this file: the agent stores it; "
            "remove it here"
        ),
    ),
    (
        account('management_audience = "https://acme.example"'),
        (
            "FILE:4: accounts.work.management_audience: must be the API's URL with a slash at its end, "
            "such as https://acme.eu.auth0.com/api/v2/"
        ),
    ),
    (
        account('token_endpoint = "https://other.example/token"'),
        (
            "FILE:4: accounts.work.token_endpoint: must be at the issuer's host, acme.example, "
            "to which the session belongs"
        ),
    ),
    (
        account('userinfo_endpoint = "https://acme.example/me#now"'),
        "FILE:4: accounts.work.userinfo_endpoint: must be a URL without a fragment",
    ),
    (configuration("[accounts.work]\nissuer = 'https://x'"), "FILE:1: accounts.work: client_id is missing"),
    (
        account('proxy = "x"'),
        (
            "FILE:4: accounts.work.proxy: must be the URL of an http, https, socks5 or socks5h proxy, "
            "such as http://proxy.example:3128"
        ),
    ),
    (
        account("authorize = 1"),
        'FILE:4: accounts.work.authorize: must be a table of strings, such as { prompt = "login" }',
    ),
    (account("audiance = 1"), "FILE:4: accounts.work.audiance: unknown key; did you mean audience?"),
    (configuration("zzz = 1"), "FILE:1: zzz: unknown key; known are: accounts, hosts, files, notify"),
    (configuration("accounts = 7"), "FILE:1: accounts: must be a table"),
    (configuration('[accounts.work]\nclient_id = "c"'), "FILE:1: accounts.work: issuer is missing"),
    (
        configuration('[accounts."a b"]'),
        "FILE:1: accounts.a b: 'a b' can't be an account's name: 1 to 64 of A-Z a-z 0-9 . _ -",
    ),
    (
        account(f'default = true\n[accounts.home]\nissuer = "{ISSUER}"\nclient_id = "c"\ndefault = true'),
        "FILE:8: accounts.home.default: work is the default account already; there can be one",
    ),
    (
        account('grant = "client_credentials"\ntoken_endpoint_auth_method = "none"'),
        (
            "FILE:5: accounts.work.token_endpoint_auth_method: can't be none with grant = client_credentials, "
            "where the client has a secret"
        ),
    ),
    (account("grant = 1"), "FILE:4: accounts.work.grant: must be one of: authorization_code, client_credentials"),
    (account("default = 1"), "FILE:4: accounts.work.default: must be true or false"),
    (account("management_account = 1"), "FILE:4: accounts.work.management_account: must be the name of an account"),
    (
        account("redirect_ports = 1"),
        (
            "FILE:4: accounts.work.redirect_ports: must be a list of ports, 0 to 65535, at least one; "
            "0 stands for any that is free"
        ),
    ),
    (
        account('[hosts."a.example"]\naccount = "home"'),
        "FILE:5: hosts.a.example.account: there is no account home in this file",
    ),
    (
        account('[hosts.git.example]\naccount = "work"'),
        'FILE:4: hosts.git: a host must be in quotes: [hosts."git.example"]',
    ),
    (
        account('[files."/t"]\naccount = "work"\nmode = "0644"'),
        'FILE:6: files./t.mode: must be "0600", or "0640" for a file that the group may read',
    ),
    (
        account('[files."/t"]\naccount = "work"\nkind = "id"\nscope = "a"'),
        'FILE:7: files./t.scope: can\'t be with kind = "id": it is of access tokens',
    ),
    (
        account('[files."/t"]\naccount = "work"\n[files."//t"]\naccount = "work"'),
        "FILE:6: files.//t: is the same file as /t; there can be one",
    ),
    (
        account('[files."/t/"]\naccount = "work"'),
        "FILE:4: files./t/: must be the path of a file, without control characters",
    ),
    (account('[files."../t"]\naccount = "work"'), "FILE:4: files.../t: must be a path without . and .."),
    (
        account('[hosts."a.example?"]\naccount = "work"'),
        (
            "FILE:4: hosts.a.example?: can't be a host, with a port and a path where they matter: "
            "it has a query or a fragment"
        ),
    ),
    (
        account('[hosts."a.example"]\naccount = "work"\n[hosts."A.example"]\naccount = "work"'),
        "FILE:6: hosts.A.example: is for the same URLs as a.example; there can be one",
    ),
    (
        account('[[hosts."a.example"]]\naccount = "work"\ndirectory = "/a"\n' * 2),
        "FILE:4: hosts.a.example: is for the same URLs in the same directory as a.example; there can be one",
    ),
    (
        account('[hosts."a.example"]\naccount = "work"\ndirectory = "src"'),
        "FILE:6: hosts.a.example.directory: must be the absolute path of a directory, or begin with ~/",
    ),
    (
        lambda: config.load(Path("/dev/null/config.toml")),
        "/dev/null/config.toml can't be read: Not a directory",
    ),
    (
        lambda: put_accounts(Path("/dev/null/config.toml"), {"work": {}}),
        "/dev/null/config.toml can't be written: Not a directory",
    ),
    (
        lambda: remove_account(Path("/dev/null"), "work"),
        "/dev/null is not a regular file; accounts can't be written to it",
    ),
    (
        in_rare_form,
        "accounts.toml is written in a form that can't be edited here; change it in an editor",
    ),
    (
        lambda: _resolve(url="https://git.example.com", scope="admin"),
        "token: scope is not the one for https://git.example.com",
    ),
    (
        lambda: _resolve(url="https://git.example.com", account="home"),
        "https://git.example.com gets tokens of the account work, and of no other",
    ),
    (lambda: _resolve(url="https://other.example"), "no account is configured for https://other.example"),
    (
        lambda: _resolve(url="https://src.example", directory="/other"),
        "no account is configured for https://src.example in this directory",
    ),
    (lambda: _resolve(directory="/src"), "token: directory goes with a url"),
    (
        lambda: _resolve(url="https://alice@git.example.com/"),
        "token: this URL gets no token: it has a user name",
    ),
    (lambda: read_url(""), "it does not begin with https:// (or http://, on this machine)"),
    (lambda: read_url("https:///a"), "it has no host"),
    (lambda: read_url("ssh://a"), "it must begin with https:// (http:// is for this machine only)"),
    (lambda: read_url("https://a b"), "it has a backslash, a space or a control character"),
    (lambda: read_url("https://127.1"), "its host is not an IPv4 address of four numbers"),
    (lambda: read_url("https://[1:2]"), "its host is not an IPv6 address"),
    (
        lambda: read_url("https://a/%2e"),
        "its path has an escaped dot, slash, backslash or control character, or a % that escapes nothing",
    ),
    (lambda: read_url("https://a@b"), "it has a user name"),
    (lambda: read_url("https://a:x"), "its host or its port is invalid"),
    (lambda: read_url("https://a:0"), "its port is not 1 to 65535"),
    (lambda: read_url("https://-a"), "its host is not a valid host name"),
    (lambda: read_url("https://a/.."), "its path has a segment . or .."),
    (
        lambda: read_url("https://fa\xdf.example"),
        "its host is an international name that programs encode differently; write it as xn--…",
    ),
]

# ---- the command line, and the client

NOW: Final = 1_800_000_000.0
HELLO: Final = msgpack.packb([0, 1, "hello", []])


def wire_error(*messages: bytes) -> str:
    """Return why an agent's side of a connection closes it after those bytes."""
    connection = Connection()
    for message in messages:
        connection.receive_data(message)
    try:
        while connection.next_message() is not None:
            pass
    except WireError as error:
        return str(error)
    return ""


def problem(**record: object) -> str:
    """Return what is wrong with a session, as `auth-agent status` shows it."""
    return condition_of(record, NOW).problem


ASSIGNMENTS: Final[list[Example]] = [
    (lambda: assignments(["work"]), "work is not an assignment: write KEY=TEXT or KEY:=JSON"),
    (lambda: assignments(["=x"]), "=x has no key before its ="),
    (lambda: assignments([":=1"]), ":=1 has no key before its :="),
    (lambda: assignments(["a=1", "b=2", "a:=3"]), "a is set twice"),
    (lambda: assignments(["a:=yes"]), "a: yes is not valid JSON; to set a string, write a=TEXT"),
    (lambda: assignments(["a:=1 2"]), "a: 1 2 is not valid JSON at character 3; to set a string, write a=TEXT"),
    (lambda: assignments(["a:="]), "a: there is no JSON after :="),
    (lambda: assignments(["a:=NaN"]), "a: JSON has no NaN"),
    (lambda: assignments(["a:=1e999"]), "a: 1e999 is too large for a number"),
    (lambda: assignments(['a:={"c": 1, "c": 2}']), "a: c is set twice in its JSON"),
    (lambda: assignments([f"a:={'[' * 100_000}"]), f"a: {'[' * 59}… is too large or too deeply nested"),
]

MESSAGES: Final[list[Example]] = [
    (lambda: check("tokens", {}), "there is no method 'tokens'"),
    (lambda: check("reload", {"account": "a"}), "reload takes no parameter 'account'; it takes: none"),
    (lambda: check("rejected", {}), "rejected needs the parameter access_token"),
    (lambda: check("token", {"min_ttl": -1}), "token: min_ttl must be a number of seconds, 0 or more"),
    (lambda: check("token", {"account": ""}), "token: account must be an account's name, 1 to 64 of A-Z a-z 0-9 . _ -"),
    (lambda: check("token", {"audience": ""}), "token: audience must be a string of 1 to 2,000 characters"),
    (lambda: check("token", {"url": ""}), "token: url must be a URL of at most 16 KiB"),
    (lambda: check("token", {"scope": 7}), "token: scope must be a string of 0 to 4,096 characters"),
    (lambda: check("token", {"force": 1}), "token: force must be true or false"),
    (lambda: check("login", {"flow": "code"}), 'login: flow must be "browser" or "device"'),
    (
        lambda: check("watch", {"accounts": "a"}),
        "watch: accounts must be a list of at most 1,000 strings of at most 100 characters",
    ),
    (
        lambda: check("user", {"fields": [1]}),
        "user: fields must be a list of at most 100 strings of at most 100 characters",
    ),
    (
        lambda: check("update_user_metadata", {"user_metadata": []}),
        "update_user_metadata: user_metadata must be a map of JSON values, at most 16 levels, 10,000 values, 512 KiB",
    ),
]

WIRE: Final[list[Example]] = [
    (lambda: wire_error(b"\xc1"), "the data is not MessagePack"),
    (lambda: wire_error(b"\x01"), "the data is not a message of MessagePack-RPC"),
    (lambda: wire_error(b"\x94\x00\xff\xa1m\x90"), "a request's id must be an unsigned 32-bit integer"),
    (lambda: wire_error(b"\x94\x00\x01\x07\x90"), "a request's method must be a string"),
    (lambda: wire_error(b"\x94\x01\x01\xc0\xc0"), "a response has the id of no open request"),
    (lambda: wire_error(b"\x93\x02\x07\x90"), "a notification must have a method, a string, and an array"),
    (
        lambda: wire_error(b"\x94\x00\x01\xa1m\x80"),
        "a request's params must be an array with at most one element, a map",
    ),
    (lambda: wire_error(HELLO, HELLO), "the id 1 belongs to a request that is still open"),
    (lambda: wire_error(b"\x94\x00\x01\xa1m\x91\x81\xa1v\x81\xc4\x01a\xc0"), "a map's key must be a string"),
    (
        lambda: wire_error(b"\x94\x00\x01\xa1m\x91\x81\xa1v\xa1\xff"),
        "the message can't be decoded: a string is not UTF-8",
    ),
    (
        lambda: wire_error(msgpack.packb([0, 1, "m", [{"v": [None] * (MAX_VALUES + 1)}]])),
        "the message can't be decoded: ValueError",
    ),
    (
        lambda: wire_error(b"\x94\x00\x01\xa1m\xdb\x00\x20\x00\x00" + bytes(1 << 20)),
        "a message is larger than 1048576 bytes",
    ),
    (lambda: wire_error(b"\x94\x00\x01\xa1m" + b"\x91" * 40 + b"\xc0"), "a message has more than 32 levels"),
    (lambda: wire_error(b"\xc7\x04\x05data"), "extension types are not supported"),
]

CLIENT: Final[list[Example]] = [
    (lambda: from_wire(7), "the agent sent an error that can't be read"),
    (lambda: token_from({}), "the agent sent no token"),
    (lambda: id_token_from({}), "the agent sent no ID token"),
    (lambda: profile_from({}), "the result of profile is not a profile"),
    (lambda: map_from({}, "user_metadata"), "the agent sent no map user_metadata"),
    (lambda: Call("hello", {}).timeout_error(), "the agent did not respond to hello within 10 s"),
    (
        lambda: check_place("/dev/null/agent.sock"),
        "/dev/null is not a directory (a symbolic link to one won't do either): nothing was sent",
    ),
]

STATUS: Final[list[Example]] = [
    (
        lambda: problem(state="ready", renewal="none"),
        "the provider issued no refresh token: the session ends with the token",
    ),
    (lambda: problem(state="ready", saved=False), "not saved yet: the session would be lost if the agent ended"),
    (lambda: problem(state="logged_out", saved=False), "its old session is not deleted from the store yet"),
    (
        lambda: problem(state="login_required", reason="account_changed"),
        "its issuer, client_id or grant has changed in the configuration since the login",
    ),
    (
        lambda: problem(state="login_required", reason="token_rejected"),
        "an API rejected the token, and the provider issued no refresh token",
    ),
    (
        lambda: problem(state="login_required", reason="session_expired"),
        "the session has reached the end that the provider set for it",
    ),
    (
        lambda: problem(state="login_required", reason="no_refresh_token"),
        "the token expired, and the provider issued no refresh token",
    ),
]

# ---- the browser's pages, the socket, the service manager

SWITCH: Final = (Remedy("log in as another user", "auth-agent", "login", "work", "--switch-user"), Remedy("ask"))
HTTP: Final = "http://127.0.0.1:4444"

PAGES: Final[list[Example]] = [
    (
        lambda: text_of(page.logged_in("work", "Alice", ISSUER)),
        "Logged in You are logged in as Alice. Provider acme.example Account work You can close this tab.",
    ),
    (
        lambda: text_of(page.logged_in("work", None, HTTP)),
        f"Logged in You are logged in. Provider {HTTP} Account work You can close this tab.",
    ),
    (
        lambda: text_of(page.failed("work", ISSUER, "the provider refused: access_denied", SWITCH)),
        (
            "Not logged in The provider refused: access_denied. Provider acme.example Account work Log in as another "
            "user, in a terminal: auth-agent login work --switch-user Ask. You can close this tab."
        ),
    ),
    (
        lambda: text_of(page.not_awaited()),
        (
            "No login is waiting This URL is not of a login in progress. It may have been used already, or the login "
            "was cancelled or timed out. Nothing was changed. See how to add an account and log in, in a terminal: "
            "auth-agent login --help You can close this tab."
        ),
    ),
    (
        lambda: text_of(page.another_user()),
        (
            "Not accepted This did not come from a browser of the user who is logging in, but from another user of "
            "this machine, or through another user's program. Nothing was changed. The login is still waiting. If the "
            "login is yours, copy this page's URL, and paste it into the terminal in which the login waits. Otherwise "
            "log in again, and paste the URL that the browser ends on, in a terminal: auth-agent login --no-browser"
        ),
    ),
    (
        lambda: text_of(page.another_user(at_start=True)),
        (
            "Not accepted This did not come from a browser of the user who is logging in, but from another user of "
            "this machine, or through another user's program. Nothing was changed. The login is still waiting. If the "
            "login is yours, open the URL that the terminal shows."
        ),
    ),
    (
        lambda: text_of(page.to_provider("https://acme.example/authorize?state=s")),
        "To the login Your browser should show the login of the provider now.",
    ),
    (
        lambda: text_of(page.used_already()),
        (
            "Used already This URL begins a login once. Nothing was changed, and the login is still waiting. If the "
            "login is yours, open the URL that the terminal shows."
        ),
    ),
    (
        lambda: text_of(page.not_found()),
        ("Nothing is here This server only receives the redirect at the end of a login. You can close this tab."),
    ),
    (
        lambda: text_of(page.error_page(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP")),
        "Bad Request The request is not valid HTTP.",
    ),
]


def listen_twice() -> None:
    with tempfile.TemporaryDirectory() as directory, chdir(directory), Listener(Path("agent.sock")):
        Listener(Path("agent.sock"))


def listen_in_an_open_directory() -> None:
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        Path("open").mkdir(mode=0o755)
        Listener(Path("open/agent.sock"))


def listen_below_a_file() -> None:
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        Path("file").touch()
        Listener(Path("file/agent.sock"))


def listen_in_place_of_a_file() -> None:
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        Path("agent.sock").touch()
        Listener(Path("agent.sock"))


def passed_socket(family: socket.AddressFamily, kind: socket.SocketKind) -> str:
    """Return what is wrong with a socket of that kind that a service manager passes."""
    with socket.socket(family, kind) as passed:
        return adopt_socket(passed)


def listen_without_a_path() -> None:
    with socket.socket(socket.AF_UNIX) as inherited:
        Listener(Path("agent.sock"), inherited)


def elsewhere(pid: int, kernels: int | None) -> Callable[[], object]:
    """Return what raises the error for an agent with that pid, which has another one for the kernel."""

    def example() -> None:
        raise agent_process.elsewhere(pid, kernels)

    return example


SOCKETS: Final[list[Example]] = [
    (listen_twice, "another agent listens at agent.sock already"),
    (listen_in_an_open_directory, "others may enter open"),
    (listen_below_a_file, "file can't be created: Not a directory"),
    (listen_in_place_of_a_file, "agent.sock is not a socket of yours; it was not changed"),
    (
        listen_without_a_path,
        (
            "the socket that was passed to the agent has no path: "
            "ListenStream= must be one in the .socket unit, as %t/auth-agent/agent.sock"
        ),
    ),
    (lambda: adopt_socket(None, "2"), "2 sockets were passed to the agent, which serves one"),
    (
        lambda: adopt_socket(None),
        ("descriptor 3 should be the agent's socket, by LISTEN_FDS, and can't be used: Socket operation on non-socket"),
    ),
    (
        lambda: passed_socket(socket.AF_INET, socket.SOCK_STREAM),
        (
            "the socket that was passed to the agent is not a Unix socket: "
            "ListenStream= must be a path in the .socket unit, as %t/auth-agent/agent.sock"
        ),
    ),
    (
        lambda: passed_socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        (
            "the socket that was passed to the agent is not a stream socket: "
            "it must be ListenStream= in the .socket unit, not ListenDatagram= or another"
        ),
    ),
    (
        lambda: passed_socket(socket.AF_UNIX, socket.SOCK_STREAM),
        (
            "the socket that was passed to the agent does not listen: "
            "it may be one client's connection, if the .socket unit has Accept=yes; remove that"
        ),
    ),
    (
        elsewhere(812, 0),
        (
            "the agent, process 812 by its own account, runs outside of this container, in another PID namespace; "
            "nothing was signalled"
        ),
    ),
    (
        elsewhere(7, 812),
        (
            "the agent, process 7 by its own account, is process 812 to the kernel: it is in a container, "
            "or another process passes connections on to it; nothing was signalled"
        ),
    ),
    (
        elsewhere(7, None),
        "the agent, process 7 by its own account, has its socket from a process that has ended; nothing was signalled",
    ),
]


# ---- proxies


def proxy_problem(url: str, variable: str = "HTTPS_PROXY") -> Callable[[], str]:
    return lambda: str(environment_proxies({variable: url}).problem)


PROXIES: Final[list[Example]] = [
    (
        proxy_problem("socks4://x", "all_proxy"),
        "all_proxy can't be used: a proxy must be http, https, socks5 or socks5h; socks4 is not supported",
    ),
    (
        proxy_problem("x://"),
        "HTTPS_PROXY can't be used: a proxy must be http, https, socks5 or socks5h",
    ),
    (
        proxy_problem("http://x/a.pac"),
        "HTTPS_PROXY can't be used: a proxy must be http, https, socks5 or socks5h; PAC files are not supported",
    ),
    (proxy_problem("x:y"), "HTTPS_PROXY can't be used: its port is not a number from 1 to 65535"),
    (proxy_problem("::1"), "HTTPS_PROXY can't be used: its host is not valid; an IPv6 address must be in brackets"),
    (proxy_problem("[x]"), "HTTPS_PROXY can't be used: its host is not an IPv6 address"),
    (proxy_problem("x y"), "HTTPS_PROXY can't be used: its host is not a host name"),
    (
        proxy_problem(f"http://{'x' * 256}@y"),
        "HTTPS_PROXY can't be used: its user or its password is longer than 255 bytes",
    ),
    (
        proxy_problem("socks5://ä@x"),
        "HTTPS_PROXY can't be used: its user or its password has characters that can't be sent to it",
    ),
    (
        lambda: str(account_proxies("x://").problem),
        "its proxy can't be used: a proxy must be http, https, socks5 or socks5h",
    ),
]

# ---- the provider, over HTTP


def provider_problem(
    call: Callable[[HttpProvider], Awaitable[object]], answers: dict[str, Responder] | None = None, **metadata: object
) -> Callable[[], str]:
    """Return what calls a provider with that metadata, and returns its reason with "ISSUER" for the issuer."""

    async def reason(issuer: str) -> str:
        failure: object = None
        async with anyio.create_task_group() as tasks:
            transport = Transport(ssl.create_default_context, Proxies())
            failure = await call(HttpProvider(issuer, transport, tasks))
        assert isinstance(failure, Failure)
        return failure.reason.replace(issuer, "ISSUER").replace(issuer.removesuffix("/work"), "SERVER")

    def example() -> str:
        with HostileServer() as server:
            return asyncio.run(reason(server.provider("work", answers, **metadata)))

    return example


def certificates_of(path: str) -> object:
    with patch.dict("os.environ", SSL_CERT_FILE=path):
        return trusted_certificates()


PROVIDER: Final[list[Example]] = [
    (
        provider_problem(lambda provider: provider.discover(), {METADATA: plain(b"", 404)}),
        (
            "ISSUER/.well-known/openid-configuration is not found, and neither is "
            "SERVER/.well-known/oauth-authorization-server/work"
        ),
    ),
    (
        provider_problem(lambda provider: provider.discover(), {METADATA: plain(b'{"message": "no"}', 200)}),
        "ISSUER/.well-known/openid-configuration has neither an issuer nor a token_endpoint",
    ),
    (
        provider_problem(lambda provider: provider.discover(), {METADATA: plain(b"", 500)}),
        "ISSUER/.well-known/openid-configuration answered HTTP 500",
    ),
    (
        provider_problem(lambda provider: provider.discover(), {METADATA: raw(b"HTTP/9")}),
        "127.0.0.1 can't be reached: RemoteProtocolError",
    ),
    (
        provider_problem(lambda provider: provider.discover(), {METADATA: plain(bytes(MAX_BODY + 1))}),
        "127.0.0.1 sent more than 524288 bytes, or than 16384 pieces",
    ),
    (
        provider_problem(lambda provider: provider.user(Secret("t"), "Bearer", "x")),
        "'x' is not a URL",
    ),
    (
        provider_problem(lambda provider: provider.keys(), jwks_uri=None),
        "ISSUER names no usable jwks_uri, so its ID tokens can't be checked with its keys",
    ),
    (provider_problem(lambda provider: provider.keys()), "ISSUER/jwks answered HTTP 404"),
    (
        provider_problem(lambda provider: provider.keys(), {"/jwks": plain(b"{\xff")}),
        "ISSUER/jwks is not valid UTF-8",
    ),
    (
        provider_problem(lambda provider: provider.keys(), {"/jwks": plain(b"<html>")}),
        "ISSUER/jwks is not a JSON object",
    ),
    (
        provider_problem(
            lambda provider: provider.begin_device(Client("c"), "openid", {}), device_authorization_endpoint=None
        ),
        "ISSUER has no device flow: it names no usable device_authorization_endpoint",
    ),
    (
        provider_problem(lambda provider: provider.userinfo(Secret("t"), "Bearer")),
        "ISSUER has no UserInfo endpoint",
    ),
    (lambda: certificates_of("/nowhere"), "SSL_CERT_FILE is '/nowhere', which is not a file; correct or unset it"),
]

EXAMPLES: Final = [
    *URLS,
    *SESSIONS,
    *REMEDIES,
    *STORAGE,
    *ENVIRONMENT,
    *OAUTH,
    *CONFIGURATION,
    *ASSIGNMENTS,
    *MESSAGES,
    *WIRE,
    *CLIENT,
    *STATUS,
    *PAGES,
    *SOCKETS,
    *PROVIDER,
    *PROXIES,
]


def sentence(happens: Callable[[], object]) -> str:
    """Return the text of what that raises, or else of what it returns."""
    try:
        result = happens()
    except Exception as error:  # noqa: BLE001 -- whatever it is, its text is what the row is about
        return str(error)
    for name in ("message", "reason"):
        text = getattr(result, name, None)
        if isinstance(text, str):
            return text
    assert isinstance(result, str)
    return result


@pytest.mark.parametrize(("happens", "expected"), EXAMPLES, ids=[expected[:60] for _, expected in EXAMPLES])
def test_each_sentence_is_as_the_table_has_it(happens: Callable[[], object], expected: str) -> None:
    assert sentence(happens) == expected


def test_each_sentence_stands_once() -> None:
    sentences = [expected for _, expected in EXAMPLES]
    assert len(set(sentences)) == len(sentences)
