"""The command line. What must start fast is dispatched before click is imported."""

import sys


def main() -> int:
    """Run the command that the arguments name; its exit code."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] == "token":
        from auth_agent.cli import token  # noqa: PLC0415 -- click and all it imports would double the command's time

        return token.main(arguments[1:])
    from auth_agent.cli import commands  # noqa: PLC0415 -- as above

    return commands.main(arguments)
