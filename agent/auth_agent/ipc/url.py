"""Whose token a URL gets: the `url` of a request, turned into the account, audience and scope of its rule."""

from auth_agent.config import Config
from auth_agent.hosts import HostError, find, read_url
from auth_agent.ipc.arguments import Arguments
from auth_agent.printable import printable
from auth_agent.remedies import add_host
from auth_agent_client import errors

_MAX_PATH = 4096  # bytes of a file's path, on Linux


def resolve_url(given: Arguments, config: Config, name: str | None = None) -> None:
    """Put the account, the audience and the scope in the place of the request's `url`, where there is one.

    `name` is the account that was found for it before, by a configuration that may have changed since.

    Raises:
        InvalidRequest: the URL could be read in two ways, or the request names another audience or scope.
        Denied: the configuration has no rule for it, or one that names another account.

    """
    url = given.string("url")
    if url is None:
        return
    try:
        place = read_url(url)
    except HostError as error:
        raise errors.InvalidRequest(f"token: this URL gets no token: {error}", parameter="url") from error
    rule = find(config.hosts, place)
    if rule is None:
        path = printable(str(config.path), _MAX_PATH)
        raise errors.Denied(f"no account is configured for {place.origin}", remedy=(add_host(place.key, path),))
    account = config.accounts[rule.account]
    if not {given.string("account"), name} <= {None, account.name}:
        raise errors.Denied(f"{place.origin} gets tokens of the account {account.name}, and of no other")
    if given.string("audience") not in (None, rule.audience or account.audience):
        raise errors.InvalidRequest(f"token: audience is not the one for {place.origin}", parameter="audience")
    scope = given.string("scope")
    if scope is not None and set(scope.split()) != set((rule.scope or account.scope).split()):
        raise errors.InvalidRequest(f"token: scope is not the one for {place.origin}", parameter="scope")
    given.replace(url=None, account=account.name, audience=rule.audience, scope=rule.scope)
