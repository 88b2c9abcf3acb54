"""docs/errors.md says what the code does."""

import re
from pathlib import Path

from docs import rendering
from proxy import errors

TEXT = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()


def between(name):
    """What stands between the marks of this name, without the empty lines around it."""
    return TEXT.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0].strip("\n")


def test_the_table_of_codes_is_drawn_from_the_taxonomy():
    assert between("codes") == rendering.codes()


def test_the_table_of_answers_is_drawn_from_what_they_become():
    assert between("answers") == rendering.answers()


def test_every_code_has_a_word_for_the_person_on_call_in_the_order_of_the_table():
    listed = re.findall(r"^\| `([A-Z_]+)` \|", between("codes"), re.MULTILINE)

    assert re.findall(r"^### ([A-Z_]+)$", TEXT, re.MULTILINE) == listed
    assert set(listed) == {cls.error_code for cls in errors.taxonomy()}


def test_every_class_with_a_code_of_its_own_is_named():
    # The three branches without one are never raised themselves.
    branches = {"ResourceError", "SystemError", "ExternalError"}
    names = {cls.__name__ for cls in errors.taxonomy()} - branches

    assert [name for name in sorted(names) if f"`{name}`" not in between("codes")] == []


def test_the_example_in_python_runs():
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

    exec(compile(example, "docs/errors.md", "exec"), {})
