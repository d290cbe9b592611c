"""The failure of a call in the worker."""


class CallFailure(Exception):
    """A call failed; `kind` is a word of the vocabulary, and the message is printable."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
