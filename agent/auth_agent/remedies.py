"""All remedies: what the agent and its commands suggest to a user, each with the command to run, if there is one.

A function's docstring says in which situation its remedy is shown. The values in a remedy come from the configuration,
the command line, the file system or the agent's own state, never from a provider or a browser: what those send is a
`reason`, and can't become a command. The only exception is what an API wants of a login: values of a few letters and
signs, each after its own name. A command is a list of arguments, which is quoted when it is printed.
"""

import errno
import os
import sys
from collections.abc import Sequence
from typing import Final

from auth_agent.host.private_directory import ForeignDirectoryError
from auth_agent_client import paths
from auth_agent_client.messages import is_account_name
from auth_agent_client.remedy import Remedy, another_socket, close_directory, set_variable, start_agent

# The client's own: it shows them without an agent.
__all__ = ["another_socket", "close_directory", "set_variable", "start_agent"]

_AUTH_AGENT: Final = "auth-agent"
LOGIN: Final = "login"
IMPORT: Final = "import"
# In characters. A longer value belongs in the configuration file, since nobody copies such a line.
_MAX_ARGUMENT: Final = 500


def _run(text: str, *arguments: str) -> Remedy:
    return Remedy(text, _AUTH_AGENT, *arguments)


# ---- logging in


def begin() -> Remedy:
    """The configuration has no account."""
    return _run("see how to add an account and log in", LOGIN, "--help")


def paste_url() -> tuple[Remedy, ...]:
    """The browser's connection to this machine can't be used for a login, as it is another user's."""
    return (
        Remedy("if the login is yours, copy this page's URL, and paste it into the terminal in which the login waits"),
        _run("otherwise log in again, and paste the URL that the browser ends on", LOGIN, "--no-browser"),
    )


def open_shown_url() -> Remedy:
    """The page at which the browser begins a login can't be used."""
    return Remedy("if the login is yours, open the URL that the terminal shows")


def hide_url() -> Remedy:
    """Other users could read a login's URL among the arguments of the program that opens the browser."""
    return _run("log in without a program that has the URL as an argument", LOGIN, "--no-browser")


def log_in(account: str) -> Remedy:
    """Nobody is logged in to the account."""
    return _run("log in", LOGIN, account)


def log_in_again(account: str) -> Remedy:
    """The session has ended, or another login is needed to get a token."""
    return _run("log in again", LOGIN, account)


def log_in_once(account: str, parameters: Sequence[tuple[str, str]]) -> Remedy:
    """An API takes only the token of a stronger or newer login. The parameters passed `oauth/challenge.py`."""
    once = [word for name, value in parameters for word in ("--once", f"{name}={value}")]
    return _run("log in as the API wants it", LOGIN, account, *once)


def log_in_with_scopes(account: str, needed: str, scope: str) -> Remedy:
    """An API takes only a token with the needed scopes, which passed `oauth/challenge.py`; `scope` is the account's."""
    scopes = f"{scope} {needed}".strip()
    if not _fits(scopes):
        return Remedy("add the scopes that the API wants to the account's in the configuration, and log in again")
    return _run("log in with the scopes that the API wants, too", LOGIN, account, "--scope", scopes)


def log_in_before_end(account: str) -> Remedy:
    """The session can't be refreshed, so it ends with its access token."""
    return _run("log in again before that", LOGIN, account)


def try_again(account: str) -> Remedy:
    """The login failed, for a reason that may be temporary."""
    return _run("try again", LOGIN, account)


def log_in_with(account: str, options: Sequence[str], remedy: Remedy) -> Remedy:
    """Return the remedy; if it is a login to the account, with the options of the one that failed.

    Nothing of that one was kept. The options of the remedy itself come last, and win.
    """
    login = (_AUTH_AGENT, LOGIN, account)
    if remedy.command[:3] != login or not all(map(_fits, options)):
        return remedy
    return Remedy(remedy.text, *login, *options, *remedy.command[3:])


def try_the_import_again() -> Remedy:
    """The import failed, for a reason that may be temporary. There is no command: it reads the token from its input."""
    return Remedy("try again")


def log_in_at_the_source() -> Remedy:
    """The imported refresh token is dead."""
    return Remedy("log in again where the refresh token came from, and import the new one")


def switch_user(account: str) -> Remedy:
    """Another user than before has logged in."""
    return _run("if that is intended, log in and switch the user", LOGIN, account, "--switch-user")


def switch_user_by_import(account: str) -> Remedy:
    """The imported refresh token is another user's; it has been used."""
    return _run(
        "if that is intended, get another refresh token, import it and switch the user",
        IMPORT,
        account,
        "--switch-user",
    )


def log_in_as_the_same(account: str) -> Remedy:
    """The account for the Management API is logged in as another user than the account whose data it manages."""
    return _run("log in to it as the same user", LOGIN, account, "--switch-user")


def other_ports(account: str) -> tuple[Remedy, ...]:
    """All ports for the redirect of the browser are in use."""
    find = ("lsof", "-nP", "-iTCP", "-sTCP:LISTEN") if sys.platform == "darwin" else ("ss", "-ltnp")
    return (
        Remedy("end the program that uses them; this command lists the programs", *find),
        Remedy("or set the account's redirect_ports to other ports, and add their callback URLs at the provider"),
        _run("or log in without a port, on any device", LOGIN, account, "--flow", "device"),
    )


def give_secret(command: str, account: str) -> Remedy:
    """The agent lacks the client's secret, or has an old one; `command` is LOGIN or IMPORT."""
    return _run("enter the client secret at a prompt", command, account, "--client-secret")


def log_in_by_pasting(account: str) -> Remedy:
    """The provider's policy refuses a login on another device, as one that wants a managed device does."""
    text = "log in in a browser that the policy allows, on any device, and paste the URL on which it ends"
    return _run(text, LOGIN, account, "--no-browser")


def log_in_without_offline_access(account: str, scope: str) -> Remedy:
    """The provider refused the scope; many have no `offline_access`. `scope` is the account's without it."""
    if not scope or not _fits(scope):
        return Remedy("log in with a scope that has no offline_access, which the provider may not have")
    return _run("log in without offline_access, which the provider may not have", LOGIN, account, "--scope", scope)


def log_in_for_id_tokens(account: str, scope: str, *, switch_user: bool = False) -> Remedy:
    """The account's scope lacks `openid`, which ID tokens require; `switch_user`: nobody knows who is logged in."""
    remedy = _with_scopes(account, "openid", scope)
    return Remedy(remedy.text, *remedy.command, "--switch-user") if switch_user and remedy.command else remedy


# ---- the configuration of an account


def choose_default(account: str) -> Remedy:
    """No account was named, and there is no default account; `account` is the first one."""
    return _run("name one, or make one the default account", "account", "default", account)


def name_api_by_audience(account: str) -> Remedy:
    """The provider refused the API, perhaps because it does not know the parameter `resource` (RFC 8707)."""
    text = "or leave out the parameter resource, if the provider does not know it, and log in"
    return _run(text, LOGIN, account, "--authorize", "resource=")


def correct_and_log_in(account: str, keys: Sequence[str]) -> Remedy:
    """The provider doesn't accept the client, or is another one than configured; one of `keys` is wrong."""
    options = _or([f"--{key.replace('_', '-')}" for key in keys])
    return _run(f"correct its {_or(keys)} by {options}, and log in", LOGIN, account)


def trust_and_log_in(account: str) -> Remedy:
    """The provider's certificate comes from an authority that is not trusted, such as a company's own."""
    text = "trust the authority that issued its certificate, if you know it, by --ca-file FILE, and log in"
    return _run(text, LOGIN, account)


def correct_and_reload(keys: Sequence[str]) -> Remedy:
    """The same, for an account with a session."""
    return _run(f"correct the account's {_or(keys)} in the configuration, and reload it", "reload")


def reload() -> Remedy:
    """The configuration was changed, and the agent has not read it since."""
    return _run("reload it", "reload")


def restore_account_and_reload() -> Remedy:
    """The account was removed from the configuration, but it has a session."""
    return _run("add the account to the configuration again, and reload it", "reload")


def correct_configuration() -> Remedy:
    """The configuration is not valid; the previous one stays in effect."""
    return _run("correct the file, and reload it", "reload")


def refresh_when_corrected(account: str) -> Remedy:
    """The client's registration at the provider may be wrong."""
    return _run("or, after a correction at the provider, try again", "refresh", account)


def allow_at_the_provider(account: str) -> Remedy:
    """The provider doesn't grant this scope or API to the client."""
    return Remedy(f"allow it for {account}'s client at the provider")


def account_of_its_own(account: str, issuer: str, client_id: str, audience: str | None, scope: str | None) -> Remedy:
    """The provider grants this token to no session of the account; a separate account may get it."""
    name = f"{account}.api"
    options = [
        *("--issuer", issuer, "--client-id", client_id),
        *(("--audience", audience) if audience else ()),
        *(("--scope", scope) if scope else ()),
    ]
    if not is_account_name(name) or not all(map(_fits, options)):
        return Remedy("or make a separate account for it, and log in")
    return _run("or make a separate account for it, and log in", LOGIN, name, *options)


def account_of_another_client(account: str, issuer: str, audience: str | None, scope: str | None) -> Remedy:
    """A token for it may cost this session scopes; one of another client can't, not even by a logout."""
    name, text = f"{account}.api", "make an account of another client for it, whose client id takes the place of ID"
    options = [
        *("--issuer", issuer, "--client-id", "ID"),
        *(("--audience", audience) if audience else ()),
        *(("--scope", scope) if scope else ()),
    ]
    return _run(text, LOGIN, name, *options) if is_account_name(name) and all(map(_fits, options)) else Remedy(text)


def log_in_by_device(account: str) -> Remedy:
    """The provider requires in a browser what the agent can't do."""
    return _run("log in on another device", LOGIN, account, "--flow", "device")


def ask_for_bearer_tokens(account: str) -> Remedy:
    """The provider requires of this client what the agent can't do."""
    return Remedy(f"ask whoever runs the provider for a client for {account} with plain bearer tokens")


# ---- refreshing


def refresh(account: str) -> Remedy:
    """The refresh failed; the agent retries it by itself."""
    return _run("the agent retries by itself; to retry now", "refresh", account)


# ---- users at Auth0


def management_account(
    account: str, name: str | None, issuer: str, client_id: str, audience: str, scope: str
) -> Remedy:
    """No account gets tokens for Auth0's Management API; `name` is the configured one for that, if any."""
    users = f"{account}.users"
    return _run(
        "log in to get such tokens",
        *(LOGIN, name or (users if is_account_name(users) else "users"), "--issuer", issuer),
        *("--client-id", client_id, "--audience", audience, "--scope", scope, "--management-for", account),
    )


def widen_scope(account: str, needed: str, scope: str) -> Remedy:
    """The account's tokens lack some of the `needed` scopes; `scope` is the account's."""
    return _with_scopes(account, needed, scope)


def show_metadata(account: str) -> Remedy:
    """The response to a change was lost, so it may have been made or not."""
    return _run("show the current metadata", "metadata", "get", account)


# ---- AWS


def trust_issuer() -> Remedy:
    """AWS does not take the token: it doesn't know the issuer or the client, or can't ask the issuer for its keys."""
    return Remedy("in IAM, have an OpenID Connect provider with the account's issuer, and its client id as an audience")


def trust_in_role() -> Remedy:
    """AWS takes the token, but not for this role."""
    return Remedy("let the role's trust policy allow sts:AssumeRoleWithWebIdentity for this issuer and user")


# ---- files that hold tokens


def free_path(path: str) -> Remedy:
    """Something that the agent did not make is where a token's file belongs; it may be a person's."""
    return Remedy("remove it, if nobody needs it, or name another file in the configuration", "ls", "-ld", "--", path)


def make_folder(path: str) -> Remedy:
    """The folder of a token's file is missing."""
    return Remedy("make it", "mkdir", "-p", "-m", "700", "--", path)


def close_folder(path: str) -> Remedy:
    """Others can write to the folder of a token's file, which is the user's."""
    return Remedy("let nobody else write to this folder", "chmod", "go-w", "--", path)


def own_folder() -> Remedy:
    """The folder of a token's file is not the user's own."""
    return Remedy("name a file in a folder of your own, or without a folder: it is in the agent's then")


def name_real_path(path: str) -> Remedy:
    """A symbolic link is on the way to a token's file; `path` is where it leads."""
    return Remedy(f"name the file in the configuration by its real path, below {path}")


def let_unit_write(folder: str) -> Remedy:
    """The folder of a token's file is read-only for a service."""
    return Remedy(f"if the service's unit has ProtectSystem= or ProtectHome=, add ReadWritePaths={folder} to it")


# ---- other people, other programs, this machine


def ask_the_provider() -> Remedy:
    """The provider's response is not valid."""
    return Remedy("if it happens again, ask the provider's operator")


def check_what_the_api_expects() -> Remedy:
    """An API rejects a token that was issued recently."""
    return Remedy("check which audience and scope the API expects")


def correct_clock() -> Remedy:
    """This machine's clock is wrong."""
    if sys.platform == "darwin":
        return Remedy("correct this machine's clock, in System Settings > General > Date & Time")
    return Remedy("correct this machine's clock; this command shows it", "timedatectl", "status")


def read_the_log() -> Remedy:
    """The agent has a defect."""
    return Remedy("please report it, with the line in the agent's log")


# ---- the agent and its store


def see_status() -> Remedy:
    """Another agent is running."""
    return _run("show the sessions of that agent", "status")


def see_status_at(socket_path: str) -> Remedy:
    """Another agent is running, on another socket than commands use by default."""
    return Remedy("show the sessions of that agent", "env", f"AUTH_AGENT_SOCK={socket_path}", _AUTH_AGENT, "status")


def stop_at(socket_path: str) -> Remedy:
    """Another agent uses the state directory, on another socket than commands use by default."""
    return Remedy("or stop that agent", "env", f"AUTH_AGENT_SOCK={socket_path}", _AUTH_AGENT, "stop")


def run_beside(socket_path: str) -> Remedy:
    """Another agent uses the state directory; `socket_path` is the socket of the agent that can't start."""
    beside = os.path.join(os.path.dirname(socket_path), "memory.sock")  # noqa: PTH118, PTH120 -- a string in, a string out
    text = "or run a second agent with sessions in memory, for programs that have this AUTH_AGENT_SOCK"
    return Remedy(text, "env", f"AUTH_AGENT_SOCK={beside}", _AUTH_AGENT, "run", "--store", "memory")


def wait_for_agent() -> Remedy:
    """An agent runs whose socket went away. It looks every ten seconds."""
    return Remedy("wait ten seconds: it listens there again by itself, if it can; its log says why not")


def end_agent(pid: int) -> Remedy:
    """An agent runs that nobody can reach; `pid` is its process. SIGTERM lets it save what it can."""
    return Remedy("or end it; sessions that are only in its memory end with it", "kill", str(pid))


def start_with_store(name: str) -> Remedy:
    """The note of the store in use can't be used; `name` is a store that may hold the sessions."""
    return _run(f"if they are in the store {name}, start the agent with it", "start", "--store", name)


def free_space() -> Remedy:
    """A file can't be written, because its disk is full."""
    return Remedy("free space, or inodes, on its file system; the agent tries again by itself")


def run_in_memory() -> Remedy:
    """The store can't be used."""
    return _run("keep sessions in memory only", "run", "--store", "memory")


def move_to(store: str) -> Remedy:
    """The running agent has another store than the one to start."""
    return _run("move its sessions there", "store", "move", store)


def stop_first(further: tuple[Remedy, ...] = ()) -> Remedy:
    """The running agent has another store than the one to start; `further`: what else helps, and comes before this."""
    return _run("or stop it first" if further else "stop it first", "stop")


def start() -> Remedy:
    """There is no service manager."""
    return _run("start the agent in the background", "start")


def install_service() -> Remedy:
    """Nothing starts the agent after a reboot."""
    return _run("have it at each login", "service", "install")


def install_by_force() -> Remedy:
    """The agent that a service would replace has sessions in memory only."""
    return _run("install the service and lose them", "service", "install", "--force")


def restart() -> Remedy:
    """An older version of the agent is still running."""
    return _run("restart it", "restart")


def restart_by_force() -> Remedy:
    """A restart would lose sessions."""
    return _run("restart it and lose them", "restart", "--force")


def run_where_the_agent_is() -> Remedy:
    """The agent's process can't be signalled from this PID namespace."""
    return Remedy("run this command where the agent runs, outside of the container or in it")


def deactivate(command: tuple[str, ...]) -> Remedy:
    """A service manager starts the agent for the next program; `command` ends that."""
    return Remedy("have no program start it", *command)


def log_out(account: str) -> Remedy:
    """The change would end the account's session."""
    return _run("log out first", "logout", account)


def log_out_and_remove(account: str) -> Remedy:
    """The account to remove has a session."""
    return _run("log out, and remove it", "account", "remove", account, "--logout")


def change_account() -> Remedy:
    """An account of that name exists."""
    return _run("show how to change an account", LOGIN, "--help")


def another_name() -> Remedy:
    """An account of that name exists and has a session."""
    return Remedy("or choose another name for the new account")


def add_host(key: str, path: str) -> Remedy:
    """No host rule matches a URL; `key` is its origin. It comes from a client, but its characters have been checked."""
    return Remedy(f'choose an account for it by [hosts."{key}"] with account = "NAME" in {path}, and reload')


def change_directory(key: str, path: str) -> Remedy:
    """The host rules that match a URL are for programs in other directories; `key` is as that of `add_host`."""
    return Remedy(f"run the program in the directory that {path} has for {key}, or add a rule without one, and reload")


def install_tool(name: str) -> Remedy:
    """The command of a tool is missing."""
    return Remedy(f"install {name}, and set it up again")


def add_client_library(program: str) -> Remedy:
    """A Python program of another environment does not find the client library there."""
    return Remedy(f"install the client library into the environment of {program}, as by pipx inject")


def extend_path(directory: str) -> Remedy:
    """A program that another one starts by its name is in a directory that is not on PATH."""
    return Remedy(f"add {directory} to PATH, and log in to the machine again")


def take_from() -> Remedy:
    """Tables of the configuration, for hosts or files, name the account to remove."""
    return Remedy("first remove these tables, or set another account there")


def provide_cluster_info() -> Remedy:
    """The kubeconfig does not let kubectl say which cluster it calls."""
    return _run("set provideClusterInfo to true in the user's exec, or have that done", "setup", "kubectl")


def upgrade_kubectl() -> Remedy:
    """The command of kubectl for a kubeconfig lacks options for a credential plugin that is told the cluster."""
    return Remedy("use kubectl 1.30 or newer, or add the user to the kubeconfig by hand")


def use_agents_user(context: str, user: str) -> Remedy:
    """A context of kubectl has a user that this command did not write."""
    return Remedy("to have the agent's user instead", "kubectl", "config", "set-context", context, f"--user={user}")


def same_configuration() -> Remedy:
    """The command and the agent read different configuration files."""
    return Remedy("set AUTH_AGENT_CONFIG to the agent's file, or start the agent with this one")


def stop_old_agent() -> Remedy:
    """The program of the running agent was removed for good, so it can't restart itself."""
    return _run("or stop the agent, and start another one", "stop")


def repair_and_restart() -> Remedy:
    """The program of the running agent does not start any more, as in the middle of an upgrade."""
    return _run("when the installation is complete again, restart the agent", "restart")


def unlock_keyring() -> tuple[Remedy, ...]:
    """The Secret Service's keyring is locked."""
    # With a newline after the password, gnome-keyring-daemon leaves the keyring locked without an error.
    line = "systemd-ask-password -n | gnome-keyring-daemon --replace --unlock"
    return Remedy("unlock the keyring in the desktop session"), Remedy("or unlock it here", "sh", "-c", line)


def find_entry(name: str) -> tuple[Remedy, ...]:
    """The store does not have the account's entry any more, and nobody logged out."""
    text = "if another keyring is the default one now, make the one from before the default one, and unlock it"
    return Remedy(text), _run("or log in again", "login", name)


def unlock_keepassxc() -> tuple[Remedy, ...]:
    """The keyring is KeePassXC, and its database is locked or it asks before it shows an entry."""
    return (
        Remedy("unlock the database in KeePassXC"),
        Remedy(
            'if it is unlocked: in KeePassXC\'s settings, under "Secret Service Integration", '
            'clear "Confirm when passwords are retrieved by clients"'
        ),
    )


def expose_keepassxc() -> tuple[Remedy, ...]:
    """The keyring is KeePassXC, and it exposes no database."""
    text = 'open a database in KeePassXC, and expose a group of it: "Database Settings", "Secret Service Integration"'
    return (Remedy(text),)


def unlock_kwallet() -> tuple[Remedy, ...]:
    """The keyring is KWallet, and the wallet is closed."""
    return (Remedy("open the wallet in KWalletManager, or log in to the desktop with the wallet's password"),)


def create_kwallet() -> tuple[Remedy, ...]:
    """The keyring is KWallet, and there is no wallet."""
    return (Remedy("create a wallet in KWalletManager; the agent will find it"),)


def unlock_keychain() -> tuple[Remedy, ...]:
    """The keychain of macOS is locked."""
    return (Remedy("unlock the keychain", "security", "unlock-keychain"),)


def unlock_store() -> tuple[Remedy, ...]:
    """Another keyring is locked."""
    return (Remedy("unlock it"),)


def unlock() -> Remedy:
    """The store, or the agent, is locked by a passphrase."""
    return _run("unlock it", "unlock")


def lock_memory() -> tuple[Remedy, ...]:
    """The sessions that are to be locked are only in memory."""
    return (
        _run("seal them with a passphrase", "lock", "--passphrase"),
        _run("or keep them, and serve nobody", "lock", "--keep-alive"),
    )


def choose_passphrase() -> Remedy:
    """The sealed file does not exist yet."""
    return _run("choose its passphrase", "unlock")


def adopt() -> Remedy:
    """An entry in the store is an old copy, or another machine's."""
    return _run("or, if no other copy of it is in use, use this one", "store", "adopt")


def restore_file() -> Remedy:
    """A part of the sealed file is damaged, or missing."""
    return Remedy("put back a copy of that file, if you have one")


def restore_record() -> Remedy:
    """An account's record in the sealed file is damaged; a login helps, too."""
    return Remedy("or put back a copy of that file, if you have one")


def move_to_file() -> Remedy:
    """There is no keyring."""
    return _run("keep the sessions in a file that a passphrase seals", "store", "move", "file")


def start_keyring() -> Remedy:
    """There is no keyring service."""
    return Remedy("start a keyring service, such as gnome-keyring; the agent will find it")


def run_with_keyring() -> Remedy:
    """There is no D-Bus session, as on a server: a keyring that is started elsewhere can't be found."""
    line = f"systemd-ask-password -n | gnome-keyring-daemon --unlock && exec {_AUTH_AGENT} run"
    text = "on a machine without a desktop, stop the agent, and run it with a keyring"
    return Remedy(text, "dbus-run-session", "--", "sh", "-c", line)


def another_listen_stream() -> Remedy:
    """The path of the socket that systemd passed can't be used."""
    return Remedy("set another ListenStream= in the .socket unit")


def directory_mode() -> Remedy:
    """Other users can access the directory that systemd made for the socket."""
    return Remedy("set DirectoryMode=0700 in the .socket unit")


def restart_socket_unit() -> Remedy:
    """The file of the socket that a service manager passed is gone, which the manager does not notice."""
    text = "restart the socket's unit, when no session is in memory only"
    if sys.platform == "darwin":
        return _run("install the service again, when no session is in memory only", "service", "install")
    return Remedy(text, "systemctl", "--user", "restart", "auth-agent.socket")


def one_listen_stream() -> Remedy:
    """Systemd passed more than one socket, or one of another type."""
    return Remedy("set one ListenStream= in the .socket unit, and no other Listen…=")


def unset_variable(name: str) -> Remedy:
    """That environment variable changes what the agent does."""
    return Remedy(f"unset {name}")


def certificates() -> Remedy:
    """SSL_CERT_FILE names no file with certificates."""
    return Remedy("set SSL_CERT_FILE to a file with certificates, or unset it")


def correct_proxy(variable: str) -> tuple[Remedy, ...]:
    """That environment variable names a proxy that can't be used. The agent keeps its environment when it restarts."""
    return (
        Remedy(f"correct or unset {variable} where the agent is started, stop the agent, and start it there"),
        _run("or set the account's `proxy` in the configuration, and reload it", "reload"),
    )


def check_network() -> Remedy:
    """A provider can't be reached."""
    return Remedy("check the network, the account's issuer, and its proxy")


def close_file(path: str) -> Remedy:
    """Other users can write to the configuration."""
    return Remedy("let nobody else write to it", "chmod", "600", path)


def for_file(error: OSError, path: str | os.PathLike[str]) -> tuple[Remedy, ...]:
    """The system does not make, open, write or lock a file: by its reason, and by the variable that chose its path."""
    if isinstance(error, ForeignDirectoryError):
        return (as_yourself(),)
    reasons = {
        errno.ENOSPC: Remedy("free space, or inodes, on its file system"),
        errno.EDQUOT: Remedy("free space: your quota of its file system is used up"),
        errno.EROFS: Remedy("make its file system writable"),
        errno.ENOLCK: Remedy("choose a local file system: this one, maybe of the network, has no locks"),
        errno.EMFILE: Remedy("raise the limit of open files (ulimit -n)"),
    }
    return (*((reasons[error.errno],) if error.errno in reasons else ()), *for_path(path))


def for_path(path: str | os.PathLike[str]) -> tuple[Remedy, ...]:
    """A file or directory can't be used: the variable that chose its path; none if that is unknown."""
    name = paths.variable_of(os.fspath(path))
    if name == "AUTH_AGENT_SOCK":
        return (another_socket(),)
    if name == "XDG_RUNTIME_DIR":
        return (unset_variable(name),)  # the user's own is found without it
    return (set_variable(name),) if name is not None and name != "AUTH_AGENT_CONFIG" else ()


def as_yourself() -> Remedy:
    """A directory belongs to another user, as after `sudo -E` or `su`."""
    return Remedy("run it as that user, without sudo, or set HOME and XDG_… variables to directories that you own")


def raise_limit() -> Remedy:
    """A limit of the process that starts the agent may end the agent."""
    return Remedy("raise it before the agent is started, or have a service manager start the agent")


def own_state_directory() -> Remedy:
    """An agent on another host, which shares the home directory, has the sessions."""
    return Remedy("stop that agent there, or set XDG_STATE_HOME to a directory of this host alone, and log in here")


def _with_scopes(account: str, needed: str, scope: str) -> Remedy:
    """Return the remedy of logging in with the needed scopes in addition to those in `scope`."""
    scopes = " ".join(dict.fromkeys([*needed.split(), *scope.split()]))
    if not _fits(scopes):
        return Remedy(f"add {needed} to {account}'s scope in the configuration, and log in again")
    return _run(f"log in again, with the scope {needed} added", LOGIN, account, "--scope", scopes)


def _fits(argument: str) -> bool:
    """Return whether an argument is short and printable enough for a line to copy."""
    return len(argument) <= _MAX_ARGUMENT and argument.isprintable()


def _or(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} or {keys[-1]}"
