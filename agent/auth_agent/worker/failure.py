"""How a call of the worker fails."""


class KeyringFailure(Exception):
    """A call failed; `kind` is one of the vocabulary's, and the text can be shown."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
