"""What may stand in place of the word that is being written: commands, options, their values, accounts."""

from collections.abc import Callable, Iterable

from auth_agent.cli.completion.tree import TREE

Candidates = list[tuple[str, str]]


def whole_words(words: list[str]) -> tuple[list[str], str]:
    """The words of bash as the command would get them, and what of the last one bash leaves alone.

    To bash, `--flow=device` is three words, of which it replaces the last one.
    """
    whole: list[str] = []
    parts = 0  # of the last word
    for word in words:
        if whole and whole[-1].startswith("--") and ((word == "=" and parts == 1) or parts == 2):  # noqa: PLR2004 -- a name and an equals sign
            whole[-1] += word
            parts += 1
        else:
            whole.append(word)
            parts = 1
    name, equals, _ = (whole or [""])[-1].partition("=")
    return whole, f"{name}{equals}" if parts > 1 else ""


def candidates(words: list[str], accounts: Callable[[], Iterable[str]]) -> Candidates:
    """What may stand in place of the last word, each with its help.

    Args:
        words: those after the program's name, the last one as far as it is written.
        accounts: gives the accounts' names, where one may stand.

    """
    *before, current = words or [""]
    path, position, metavar, is_option = _reached(before)
    _, arguments, options = TREE[path]
    name, equals, _ = current.partition("=")
    if metavar:
        found = _values(metavar, accounts)
    elif is_option and current.startswith("-") and equals:
        metavar, _ = options.get(name, ("", ""))
        found = [(f"{name}={value}", text) for value, text in _values(metavar, accounts)]
    elif is_option and current.startswith("-"):
        found = [(option, text) for option, (_, text) in options.items()]
    else:
        found = (position == 0 and _commands(path)) or _values(_argument(arguments, position), accounts)
    return [(value, text) for value, text in found if value.startswith(current)]


def _reached(words: list[str]) -> tuple[str, int, str, bool]:
    """Where those words lead.

    The command, how many arguments it has by now, what the option at the end still wants ("": nothing), and whether
    another option may come.
    """
    path, position, metavar = "", 0, ""
    for index, word in enumerate(words):
        command = f"{path} {word}".lstrip()
        if metavar:
            metavar = ""
        elif word == "--":
            return path, position + len(words) - index - 1, "", False
        elif word.startswith("-") and word != "-":
            metavar, _ = TREE[path][2].get(word, ("", ""))
        elif command in TREE and position == 0:
            path = command
        else:
            position += 1
    return path, position, metavar, True


def _commands(path: str) -> Candidates:
    """The commands below that one."""
    start = f"{path} ".lstrip()
    below = [(name.removeprefix(start), summary) for name, (summary, _, _) in TREE.items() if name.startswith(start)]
    return [(name, summary) for name, summary in below if name and " " not in name]


def _argument(arguments: str, position: int) -> str:
    """What is wanted there, of arguments such as `ACCOUNT KEY` or `ACCOUNT...`."""
    wanted = arguments.split()
    if wanted and wanted[-1].endswith("..."):
        position = min(position, len(wanted) - 1)
    return wanted[position].removesuffix("...") if position < len(wanted) else ""


def _values(metavar: str, accounts: Callable[[], Iterable[str]]) -> Candidates:
    """What may be written for that, as a usage line has it: an account's name, or one of a few words."""
    if metavar == "ACCOUNT":
        return [(name, "account") for name in accounts()]
    return [(value, "") for value in metavar.split("|") if value] if "|" in metavar else []
