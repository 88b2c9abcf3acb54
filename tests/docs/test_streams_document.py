"""docs/streams.md says what the code does; `python tests/docs/test_streams_document.py` draws it."""

import re
import sys
from pathlib import Path

from proxy import errors
from proxy.config.load import parse
from proxy.gateway import dialects

TEXT = (Path(__file__).parents[2] / "docs" / "streams.md").read_text()


def table():
    lines = [
        "| provider | path | ends with | is whole without it | told of an error | its client raises |",
        "|---|---|---|---|---|---|",
    ]
    known = [
        (provider, pattern.pattern, dialect)
        for provider, paths in dialects.TABLE.items()
        for pattern, dialect in paths
    ]
    for provider, path, dialect in [*known, ("any other", ".*", dialects.GENERIC)]:
        ends = ", ".join(f"`{mark.decode()}`" for mark in dialect.ends) or "its body"
        finish = dialect.finished.pattern.decode().replace("|", r"\|")
        whole = f"after `{finish}`" if finish else "always"
        raises = f"`{dialect.raises}`" if dialect.raises else "nothing we know of"
        lines.append(
            f"| {provider} | `{path}` | {ends} | {whole} | {event_of(dialect)} | {raises} |"
        )
    return "\n".join(lines)


def event_of(dialect):
    """Show the event that tells of an error, line by line."""
    error = errors.NetworkError("…", details={"request_id": "…"})
    lines = dialect.write(error).decode().replace("\\u2026", "…").strip().splitlines()
    return "<br>".join(f"`{line}`" for line in lines)


def test_the_table_of_providers_is_drawn_from_the_dialects():
    between = TEXT.partition("<!-- dialects -->")[2].partition("<!-- /dialects -->")[0]

    assert between.strip("\n") == table()


def test_the_example_can_be_loaded_and_does_what_the_text_says():
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    config = parse(example, "streams.md", {})

    (route,) = config.upstreams["openai"].routes
    assert not config.warnings
    assert (route.policy.stream.mode, route.policy.stream.ping) == ("verified", 15)
    assert "timeout" in route.policy.retry.retry_on


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
