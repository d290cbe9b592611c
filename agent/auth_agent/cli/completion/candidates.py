"""Complete the word that is being typed: commands, options, their values, accounts."""

from collections.abc import Callable, Iterable

from auth_agent.cli.completion.tree import TREE

Candidates = list[tuple[str, str]]


def whole_words(words: list[str]) -> tuple[list[str], str]:
    """Return bash's words as the command would get them, and the part of the last word that bash keeps.

    Bash splits `--flow=device` into three words, and replaces only the last one.
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
    """Return the candidates for the last word, each with its help.

    Args:
        words: the words after the program's name; the last one is incomplete.
        accounts: returns the accounts' names; called only if an account is expected.

    """
    *before, current = words or [""]
    path, position, metavar, is_option = _reached(before)
    _, arguments, options = TREE[path]
    name, equals, _ = current.partition("=")
    if metavar:
        matches = _values(metavar, accounts)
    elif is_option and current.startswith("-") and equals:
        metavar, _ = options.get(name, ("", ""))
        matches = [(f"{name}={value}", text) for value, text in _values(metavar, accounts)]
    elif is_option and current.startswith("-"):
        matches = [(option, text) for option, (_, text) in options.items()]
    else:
        matches = (position == 0 and _commands(path)) or _values(_argument(arguments, position), accounts)
    return [(value, text) for value, text in matches if value.startswith(current)]


def _reached(words: list[str]) -> tuple[str, int, str, bool]:
    """Return the parser's position after the words.

    That is the command, the number of its arguments so far, the metavar of the value that the last option still needs
    ("" for none), and whether another option may follow.
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
    """Return the subcommands of a command."""
    start = f"{path} ".lstrip()
    below = [(name.removeprefix(start), summary) for name, (summary, _, _) in TREE.items() if name.startswith(start)]
    return [(name, summary) for name, summary in below if name and " " not in name]


def _argument(arguments: str, position: int) -> str:
    """Return the metavar at a position of arguments such as `ACCOUNT KEY` or `ACCOUNT...`."""
    metavars = arguments.split()
    if metavars and metavars[-1].endswith("..."):
        position = min(position, len(metavars) - 1)
    return metavars[position].removesuffix("...") if position < len(metavars) else ""


def _values(metavar: str, accounts: Callable[[], Iterable[str]]) -> Candidates:
    """Return the values for a metavar: the accounts' names, or the words of a choice."""
    if metavar == "ACCOUNT":
        return [(name, "account") for name in accounts()]
    return [(value, "") for value in metavar.split("|") if value] if "|" in metavar else []
