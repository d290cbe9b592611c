"""JSON from outside, as far as it is an object."""

import json


class JsonObjectError(ValueError):
    """It is no JSON, or no object; the text says which, to stand behind a name."""


def parse_object(text: str | bytes) -> dict[str, object]:
    """The object's members.

    Raises:
        JsonObjectError: there is none.

    """
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonObjectError("is no JSON") from error
    if not isinstance(found, dict):
        raise JsonObjectError("is no JSON object")
    return found  # pyright: ignore[reportUnknownVariableType] -- JSON's names are texts; its values are anything
