"""`auth-agent aws`: credentials of an AWS role, for the account's ID token, as `credential_process` takes them."""

import sys

from auth_agent.cli.light import Arguments, Command, Option, UsageError, seconds
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent_client.working_directory import working_directory

_MIN_TTL = 2.0  # s; AWS checks the token when it arrives
_ENDPOINT = "https://sts.amazonaws.com/"
# Letters and digits of a region's or a role session's name, and what else these may have.
_OF_REGION = "-"
_OF_SESSION = "_+=,.@-"
_SESSION_LENGTHS = range(2, 65)


def _consists_of(string: str, others: str) -> bool:
    return string.isascii() and all(one.isalnum() or one in others for one in string) and string != ""


def _region(string: str) -> str:
    """Return a region. Raises a `ValueError` if it can't be one: it becomes a part of the URL."""
    if not _consists_of(string, _OF_REGION):
        raise ValueError(f"{string!r} can't be the name of a region.")
    return string


def _session_name(string: str) -> str:
    """Return the name of a role session. Raises a `ValueError` if AWS would refuse it."""
    if not _consists_of(string, _OF_SESSION) or len(string) not in _SESSION_LENGTHS:
        raise ValueError(f"{string!r} must have 2 to 64 letters, digits and characters of {_OF_SESSION}")
    return string


COMMAND = Command(
    "aws",
    "Print credentials of an AWS role, for credential_process.",
    arguments="[ACCOUNT]",
    most=1,
    options=(
        Option("--role-arn", "ARN", "The role to be assumed (AssumeRoleWithWebIdentity)."),
        Option("--session-name", "NAME", "The role session's name (auth-agent).", read=_session_name),
        Option("--duration", "SECONDS", "How long the credentials are to be valid, as AWS allows.", read=seconds),
        Option("--access-token", "", "Show AWS the access token instead of the ID token."),
        Option("--region", "NAME", "Ask the region's endpoint.", read=_region),
        Option("--endpoint-url", "URL", f"Ask this endpoint ({_ENDPOINT}). [hosts] must map it to the account."),
        Option("--timeout", "SECONDS", "How long to wait for a token (15).", read=seconds),
    ),
    examples=("auth-agent aws --role-arn arn:aws:iam::123456789012:role/dev",),
)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code."""
    return COMMAND.run(arguments, _print)


def _print(arguments: Arguments) -> None:
    role = arguments.string("--role-arn")
    if not role:
        raise UsageError("Missing option '--role-arn'.")
    region, endpoint = arguments.string("--region"), arguments.string("--endpoint-url")
    if region is not None and endpoint is not None:
        raise UsageError("--region and --endpoint-url exclude each other.")
    url = endpoint or (_ENDPOINT if region is None else f"https://sts.{region}.amazonaws.com/")
    # Before the token is got, which may live for seconds; after the arguments were checked.
    from auth_agent.cli.assumed_role import assume_role  # noqa: PLC0415 -- slow

    token = _token(arguments, url)
    name, duration = arguments.string("--session-name") or "auth-agent", arguments.seconds("--duration")
    sys.stdout.write(assume_role(url, role, name, None if duration is None else int(duration), token))


def _token(arguments: Arguments, url: str) -> str:
    """Return the token that AWS is shown; the endpoint must be one that gets it. Raises an `AgentError`."""
    directory, timeout = working_directory(), arguments.seconds("--timeout")
    with PatientAgent() as agent:
        if arguments.flag("--access-token"):
            return agent.token(
                arguments.first, url=url, directory=directory, min_ttl=_MIN_TTL, timeout=timeout
            ).access_token
        return agent.id_token(arguments.first, url=url, directory=directory, min_ttl=_MIN_TTL, timeout=timeout).id_token
