"""Errors that are meant for a person: one clear sentence that names the file or setting and what to do."""


class NerfError(Exception):
    """A mistake in what was asked or given, told in one sentence to the person who asked.

    The command line prints the message and exits with code 2; the worker sends it as a JSON-RPC error; the
    add-on reports it and returns ``{'CANCELLED'}``. Anything else that is raised is a bug of ours.
    """


class DataError(NerfError):
    """A dataset cannot be read as it is: the message names the file."""


class CheckpointError(NerfError):
    """A checkpoint or run folder cannot be used: the message names the file."""


class ProtocolError(NerfError):
    """The two processes do not understand each other: wrong version, broken framing."""


class Cancelled(Exception):  # noqa: N818 - it is a signal, not a mistake
    """The person pressed Stop; raised by long work to unwind to where it was started."""


def error_sentence(error: OSError) -> str:
    """What the system says about a file, as a sentence for a person."""
    reason = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return f"{reason}." if error.filename is None else f"Cannot use '{error.filename}': {reason}."
