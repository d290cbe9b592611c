"""Everything that helps: each remedy that the agent or a command can show is made here, and nowhere else.

What is put into a remedy comes from the configuration, the command line, the file system or the agent's own state,
never from a provider or a browser: whatever those write is a `reason`, and can't become a command. A command is a list
of arguments, and is quoted when it is shown.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from auth_agent_client.messages import is_account_name
from auth_agent_client.remedy import Remedy, another_socket, close_directory, start_agent

__all__ = ["another_socket", "close_directory", "start_agent"]  # the client's, who can say them without an agent

_AUTH_AGENT: Final = "auth-agent"
LOGIN: Final = "login"
IMPORT: Final = "import"
# A longer value belongs in the configuration file: nobody copies such a line.
_LONGEST_ARGUMENT: Final = 500


def _run(text: str, *arguments: str) -> Remedy:
    return Remedy(text, _AUTH_AGENT, *arguments)


# ---- logging in


def begin() -> Remedy:
    """There is no account yet."""
    return _run("see how to add an account and log in", LOGIN, "--help")


def log_in(account: str) -> Remedy:
    """Nobody is logged in there, or has to log in once more."""
    return _run("log in", LOGIN, account)


def log_in_again(account: str) -> Remedy:
    """The session is over, or lacks what only another login brings."""
    return _run("log in again", LOGIN, account)


def log_in_in_time(account: str) -> Remedy:
    """The session is about to end, whatever is refreshed meanwhile."""
    return _run("log in again before that", LOGIN, account)


def try_again(account: str) -> Remedy:
    """The login came to nothing, for a reason that may pass."""
    return _run("try again", LOGIN, account)


def log_in_for(managed: str, remedy: Remedy) -> Remedy:
    """A remedy of a login that was for another account's user data, which is to be that again."""
    if remedy.command[:2] != (_AUTH_AGENT, LOGIN):
        return remedy
    return Remedy(remedy.text, *remedy.command, "--management-for", managed)


def try_the_import_again() -> Remedy:
    """The import came to nothing, for a reason that may pass; the command read its token from standard input."""
    return Remedy("try again")


def log_in_at_the_source() -> Remedy:
    """The refresh token that was to be imported is dead."""
    return Remedy("log in again where the refresh token came from, and import the new one")


def switch_user(account: str) -> Remedy:
    """It is another user who logged in."""
    return _run("log in as another user on purpose", LOGIN, account, "--switch-user")


def switch_user_by_import(account: str) -> Remedy:
    """It is another user whose refresh token was imported; it is used up."""
    return _run(
        "get another refresh token, and import it as another user's on purpose", IMPORT, account, "--switch-user"
    )


def log_in_as_the_same(account: str) -> Remedy:
    """The account that has another one's user data is another user's."""
    return _run("log in there as the same user", LOGIN, account, "--switch-user")


def other_ports(account: str) -> tuple[Remedy, ...]:
    """The ports that a browser may come back to are taken."""
    find = ("lsof", "-nP", "-iTCP", "-sTCP:LISTEN") if sys.platform == "darwin" else ("ss", "-ltnp")
    return (
        Remedy("end the program that has them, which this lists", *find),
        Remedy("or set the account's redirect_ports to other ports, which the provider has as callback URLs too"),
        _run("or log in without a port, on any device", LOGIN, account, "--flow", "device"),
    )


def give_secret(command: str, account: str) -> Remedy:
    """The client needs a secret that the agent doesn't have, or has a new one; `command` is LOGIN or IMPORT."""
    return _run("give the client's secret, at a prompt", command, account, "--client-secret")


def log_in_for_id_tokens(account: str, scope: str) -> Remedy:
    """The account's scope lacks `openid`, without which nobody tells who is logged in."""
    return _with_scopes(account, "openid", scope)


# ---- what the account or the client is


def correct_and_log_in(account: str, keys: Sequence[str]) -> Remedy:
    """The provider doesn't know the client, or is another one than the account says; `keys` are what may be wrong."""
    options = _or([f"--{key.replace('_', '-')}" for key in keys])
    return _run(f"correct its {_or(keys)}, in the configuration or by {options}, and log in", LOGIN, account)


def correct_and_reload(keys: Sequence[str]) -> Remedy:
    """The same for a session that there is."""
    return _run(f"correct the account's {_or(keys)} in the configuration, and have it read again", "reload")


def put_back_and_reload() -> Remedy:
    """The account is gone from the configuration, and its session waits."""
    return _run("put the account back into the configuration, and have it read again", "reload")


def correct_configuration() -> Remedy:
    """The configuration can't be used, and the one from before stays in force."""
    return _run("correct the file, and have it read again", "reload")


def refresh_when_corrected(account: str) -> Remedy:
    """What was wrong at the provider has been corrected there."""
    return _run("or, once it is corrected at the provider, try it now", "refresh", account)


def allow_at_the_provider(account: str) -> Remedy:
    """The provider doesn't grant the client this scope or API."""
    return Remedy(f"allow it to {account}'s client at the provider")


def account_of_its_own(account: str, issuer: str, client_id: str, audience: str | None, scope: str | None) -> Remedy:
    """The session can't have this token: an account of its own may."""
    name = f"{account}.api"
    options = [
        *("--issuer", issuer, "--client-id", client_id),
        *(("--audience", audience) if audience else ()),
        *(("--scope", scope) if scope else ()),
    ]
    if not is_account_name(name) or not all(map(_fits, options)):
        return Remedy("make an account of its own for that, and log in there")
    return _run("or make an account of its own for that, and log in", LOGIN, name, *options)


# ---- refreshing


def refresh(account: str) -> Remedy:
    """Refreshes fail, and are tried again by themselves."""
    return _run("it is tried again by itself; to try it now", "refresh", account)


# ---- users at Auth0


def management_account(
    account: str, name: str | None, issuer: str, client_id: str, audience: str, scope: str
) -> Remedy:
    """No token is for Auth0's Management API; `name` is the account that the configuration names for that."""
    users = f"{account}.users"
    return _run(
        "log in for such tokens",
        *(LOGIN, name or (users if is_account_name(users) else "users"), "--issuer", issuer),
        *("--client-id", client_id, "--audience", audience, "--scope", scope, "--management-for", account),
    )


def widen_scope(account: str, needed: str, scope: str) -> Remedy:
    """The account's tokens lack some of the scopes that are needed; `scope` is what the account has."""
    return _with_scopes(account, needed, scope)


def look_at_metadata(account: str) -> Remedy:
    """Whether a change was made isn't known."""
    return _run("see what holds", "metadata", "get", account)


# ---- other people, other programs, this machine


def ask_the_provider() -> Remedy:
    """The provider sent what it must not."""
    return Remedy("if it happens again, ask whoever runs the provider")


def check_what_the_api_expects() -> Remedy:
    """An API rejects a token that is as good as new."""
    return Remedy("check which audience and scope the API expects")


def correct_clock() -> Remedy:
    """This machine's clock is wrong."""
    if sys.platform == "darwin":
        return Remedy("correct this machine's clock, in System Settings > General > Date & Time")
    return Remedy("correct this machine's clock; this shows how it is set", "timedatectl", "status")


def read_the_log() -> Remedy:
    """A defect of the agent."""
    return Remedy("its log says where; please report it")


# ---- the agent and its store


def see_status() -> Remedy:
    """Another agent runs."""
    return _run("see what that one has", "status")


def see_status_at(socket_path: str) -> Remedy:
    """Another agent runs, and listens elsewhere than this command would look."""
    return Remedy("see what that one has", "env", f"AUTH_AGENT_SOCK={socket_path}", _AUTH_AGENT, "status")


def run_beside(socket_path: str) -> Remedy:
    """The sessions belong to another agent; `socket_path` is where this one was to listen."""
    beside = os.path.join(os.path.dirname(socket_path), "memory.sock")  # noqa: PTH118, PTH120 -- a string in, a string out
    text = "or keep sessions of your own, in memory, for programs that have the same AUTH_AGENT_SOCK"
    return Remedy(text, "env", f"AUTH_AGENT_SOCK={beside}", _AUTH_AGENT, "run", "--store", "memory")


def run_in_memory() -> Remedy:
    """The store can't be used."""
    return _run("keep sessions in memory only", "run", "--store", "memory")


def restart() -> Remedy:
    """An older agent runs still."""
    return _run("restart it", "restart")


def restart_by_force() -> Remedy:
    """A restart would lose sessions."""
    return _run("restart it all the same", "restart", "--force")


def log_out(account: str) -> Remedy:
    """The account has a session that the change would end."""
    return _run("log out first", "logout", account)


def log_out_and_remove(account: str) -> Remedy:
    """The account that is to be removed has a session."""
    return _run("log out, and remove it", "account", "remove", account, "--logout")


def change_account() -> Remedy:
    """There is an account of that name already."""
    return _run("see how login changes it", LOGIN, "--help")


def another_name() -> Remedy:
    """There is an account of that name, with a session that is to stay."""
    return Remedy("or give the new account another name")


def add_host(key: str, path: str) -> Remedy:
    """No rule is for a URL; `key` is its origin as the key of one: a client wrote it, and its letters were checked."""
    return Remedy(f'say whose tokens it gets, by [hosts."{key}"] with account = "NAME" in {path}, and reload')


def take_from_hosts() -> Remedy:
    """The account that is to be removed is named by hosts."""
    return Remedy("remove them there first, or name another account there")


def same_configuration() -> Remedy:
    """The command and the agent read different files."""
    return Remedy("set AUTH_AGENT_CONFIG to the agent's, or start the agent with this one")


def start_anew() -> Remedy:
    """The program of the agent that runs is gone, so that it can't begin anew in its place."""
    return _run("stop it, and start the new one", "stop")


def unlock_keyring() -> tuple[Remedy, ...]:
    """The Secret Service's keyring is locked."""
    # Its input must be the password and nothing else: with a line's end it stays locked, and says nothing.
    line = "systemd-ask-password -n | gnome-keyring-daemon --replace --unlock"
    return Remedy("unlock the keyring at the desktop"), Remedy("or unlock it here", "sh", "-c", line)


def unlock_keychain() -> tuple[Remedy, ...]:
    """The keychain of macOS is locked."""
    return (Remedy("unlock the keychain", "security", "unlock-keychain"),)


def unlock_store() -> tuple[Remedy, ...]:
    """Another keyring is locked."""
    return (Remedy("unlock it"),)


def start_keyring() -> Remedy:
    """There is no keyring service."""
    return Remedy("start a keyring service, such as gnome-keyring; it is found by itself")


def another_listen_stream() -> Remedy:
    """The socket that systemd passed can't be where it is."""
    return Remedy("set another ListenStream= in the .socket unit")


def directory_mode() -> Remedy:
    """The directory that systemd made for the socket is open to others."""
    return Remedy("set DirectoryMode=0700 in the .socket unit")


def one_listen_stream() -> Remedy:
    """What systemd passed isn't the one socket that the agent serves."""
    return Remedy("have one ListenStream= in the .socket unit, and no other Listen…=")


def set_variable(name: str) -> Remedy:
    """A directory that the environment names can't be used."""
    return Remedy(f"set {name} to a directory of your own")


def _with_scopes(account: str, needed: str, scope: str) -> Remedy:
    """A login with the scopes that are needed; those that the account has stay."""
    whole = " ".join(dict.fromkeys([*needed.split(), *scope.split()]))
    if not _fits(whole):
        return Remedy(f"add {needed} to {account}'s scope in the configuration, and log in again")
    return _run(f"log in again, with {needed} too", LOGIN, account, "--scope", whole)


def _fits(argument: str) -> bool:
    """Whether an argument may stand in a line that a person copies."""
    return len(argument) <= _LONGEST_ARGUMENT and argument.isprintable()


def _or(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} or {keys[-1]}"
