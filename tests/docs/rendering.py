"""The tables of docs/errors.md, drawn from the code that decides what they say.

`python tests/docs/rendering.py` prints them, to be pasted in when the code has changed. Nothing
here is told twice: classes, codes and statuses are `errors.py`'s, meanings `gateway/answers.py`'s.
"""

import sys
from itertools import groupby

from proxy import errors
from proxy.gateway.answers import Origin, translate

KINDS_CODE = "the kind's code"

# What a class attribute cannot say: the statuses and cases that a single error may bring with it.
_STATUS_TOO = {
    "VALIDATION_ERROR": "; also 408, 413, 415, 417, 422, 431, 501, 505",
    "CAPACITY_EXCEEDED": ", while draining too",
    "NETWORK_ERROR": "; a loop 508",
    **dict.fromkeys(
        ("LLM_API_ERROR", "VECTOR_DB_ERROR", "THIRD_PARTY_API_ERROR"),
        ", 503, or the upstream's 4xx",
    ),
}
_RETRIED = {
    "RATE_LIMIT_EXCEEDED": "`retry_on`, if the upstream said it",
    "NETWORK_ERROR": "`retry_on`; never a bad certificate or a loop",
}
_BLAMES = {"TIMEOUT_ERROR": "`failure_on`, where the attempt had its own full time"}


def codes():
    """Draw the first table: each code, its classes, and what follows from it."""
    lines = [
        "| code | class (parent) | status | severity | retried | blames the upstream |",
        "|---|---|---|---|---|---|",
    ]
    named = [cls for cls in errors.taxonomy() if cls.error_code != "UNKNOWN_ERROR"]
    for code, group in groupby([*named, errors.OctoLLMError], lambda cls: cls.error_code):
        classes = list(group)
        first = classes[0]
        parent = f" ({first.__base__.__name__})" if first.__base__ is not Exception else ""
        names = ", ".join(f"`{cls.__name__}`" for cls in classes)
        retried = _RETRIED.get(code, "`retry_on`") if first.retryable else "no"
        blames = _BLAMES.get(code, "`failure_on`") if first.blames_upstream else "no"
        status = f"{first.status}{_STATUS_TOO.get(code, '')}"
        lines.append(
            f"| `{code}` | {names}{parent} | {status} | {first.severity.name} | {retried} | {blames} |"
        )
    return "\n".join(lines)


def answers():
    """Draw the second table: what becomes of an upstream's status, if it is an error."""
    lines = [
        "| the upstream answered | becomes |",
        "|---|---|",
        "| 2xx, 3xx | passes; no redirect is followed |",
    ]
    told: dict[str, list[int]] = {}
    for status in range(400, 600):
        told.setdefault(_becomes(status), []).append(status)
    # What most statuses of a class become is told last, and as "any other".
    for becomes, statuses in sorted(told.items(), key=lambda item: (len(item[1]) > 9, item[1])):
        many = len(statuses) > 9
        said = f"any other {statuses[0] // 100}xx" if many else ", ".join(map(str, statuses))
        lines.append(f"| {said} | {becomes} |")
    strange = {_becomes(status) for status in (99, 101, 600, 999)}
    lines.append(f"| an unasked 101; below 100, above 599 | {', '.join(strange)} |")
    ours = {_becomes(status, our_credential=True) for status in (401, 403)}
    lines.append(f"| 401, 403, where `auth` put our key in | {', '.join(ours)}, CRITICAL |")
    return "\n".join(lines)


def _becomes(status, *, our_credential=False):
    origin = Origin("llm", "generic", our_credential)
    error = translate(status, {}, b"", origin, None)
    code = KINDS_CODE if isinstance(error, errors.LLMAPIError) else f"`{error.error_code}`"
    kept = error.status == status < 500
    return f"{code}, {'the same status' if kept else error.status}"


if __name__ == "__main__":
    sys.stdout.write(f"{codes()}\n\n{answers()}\n")
