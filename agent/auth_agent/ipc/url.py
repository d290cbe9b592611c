"""Turns the `url` of a request, and the `directory` of its program, into the account, audience and scope of a rule."""

from auth_agent.config import Config
from auth_agent.hosts import HostError, find, read_url, username
from auth_agent.ipc.arguments import Arguments
from auth_agent.printable import printable
from auth_agent.remedies import add_host, change_directory
from auth_agent_client import errors

_MAX_PATH = 4096  # bytes of a file's path, on Linux


def resolve_url(args: Arguments, config: Config, name: str | None = None) -> None:
    """Replace the parameters `url` and `directory`, if there are any, by the account and what else their rule has.

    `name` is the account that an earlier call returned, since when the configuration may have changed.

    Raises:
        InvalidRequest: the URL is ambiguous, or the request names another audience or scope, or a directory alone.
        Denied: the configuration has no rule for the URL, or the rule names another account.

    """
    url, directory = args.string("url"), args.string("directory")
    if url is None:
        if directory is not None:
            raise errors.InvalidRequest(f"{args.method}: directory goes with a url", parameter="directory")
        return
    try:
        place = read_url(url)
    except HostError as error:
        raise errors.InvalidRequest(f"{args.method}: this URL gets no token: {error}", parameter="url") from error
    rule = find(config.hosts, place, directory)
    if rule is None:
        path = printable(str(config.path), _MAX_PATH)
        message = f"no account is configured for {place.origin}"
        if any(rule.fits(place, rule.directory) for rule in config.hosts):
            message, remedy = f"{message} in this directory", change_directory(place.key, path)
        else:
            remedy = add_host(place.key, path)
        raise errors.Denied(message, failure="unmapped", remedy=(remedy,))
    account = config.accounts[rule.account]
    if not {args.string("account"), name} <= {None, account.name}:
        raise errors.Denied(f"{place.origin} gets tokens of the account {account.name}, and of no other")
    if args.string("audience") not in (None, rule.audience or account.audience):
        raise errors.InvalidRequest(f"{args.method}: audience is not the one for {place.origin}", parameter="audience")
    scope = args.string("scope")
    if scope is not None and set(scope.split()) != set((rule.scope or account.scope).split()):
        raise errors.InvalidRequest(f"{args.method}: scope is not the one for {place.origin}", parameter="scope")
    chosen = {"account": account.name, "audience": rule.audience, "scope": rule.scope}
    args.replace(url=None, directory=None, username=username(rule, place), **chosen)
