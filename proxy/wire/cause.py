"""Why a connection failed, in words that quote nobody: no address, no key, nothing that was sent.

It knows the system's errors, and of a library's no more than the name of their class.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator

_NUMBER = re.compile(r"\[Errno (\d{1,3})\]")


def cause(error: BaseException) -> str:
    """Name the class of *error*, and behind it what the system said, of two things the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    name = type(error).__name__
    why = next((word for word in map(_word, _origins(error)) if word), None)
    return f"{name}: {why}" if why else name


def _origins(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _word(error: BaseException) -> str | None:
    match error:
        case TimeoutError():
            return "timed out"
        case socket.gaierror():
            return "no such address"
        case ssl.SSLError():
            return error.reason.lower().replace("_", " ") if error.reason else "tls"
        case EOFError():
            return "closed"
        case OSError():
            # Where several addresses were tried, the numbers are in the text alone.
            found = _NUMBER.search(str(error))
            number = error.errno or (int(found[1]) if found else 0)
            return os.strerror(number).lower() if number else None
    return None
