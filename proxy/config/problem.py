"""What is wrong in a config file, where, and what was meant."""

from collections.abc import Collection
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing to mend. *line* and *column* count from 1; *path* is empty for the whole file."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {where}{self.message}"


class ConfigError(Exception):
    """A file cannot be used; *problems* are all that is wrong with it, in the file's order.

    *files* are those it names: to mend one of them may be all it needs.
    """

    def __init__(self, problems: tuple[Problem, ...], files: Collection[str] = ()) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
        self.files = files
