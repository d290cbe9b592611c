"""The failure of a call in the worker."""


class CallFailure(Exception):
    """A call failed; `kind` is a word of the vocabulary, and the message is printable.

    `program` is the program that failed, as far as it is known.
    """

    def __init__(self, kind: str, message: str, program: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.program = program
