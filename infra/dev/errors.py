"""The one exception of the embedded stack."""


class EmbeddedStackError(Exception):
    """The embedded stack cannot run; the message says what happened, where, and what to do."""
