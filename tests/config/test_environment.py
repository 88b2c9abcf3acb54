import pytest

from proxy.config import document, environment
from proxy.config.fields import Plain, Unknown

ENV = {"HOST": "h", "EMPTY": "", "YAML": "a: [b", "BYTES": "x\udcff", "REF": "${HOST}"}


def replaced(text, env=ENV):
    problems = []
    tree = document.read(text, "f")
    found = environment.replace(tree, env, lambda mark, message: problems.append((mark, message)))
    return found, [message for _, message in problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${HOST}", "h"),
        ("http://${HOST}:${PORT:-80}/", "http://h:80/"),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("$HOST $ {x}", "$HOST $ {x}"),
        ("${YAML}", "a: [b"),
        ("${REF}", "${HOST}"),
    ],
)
def test_a_reference_is_replaced_once_and_never_read_as_yaml(written, meant):
    assert replaced(f"a: '{written}'") == ({"a": meant}, [])


def test_references_are_replaced_wherever_a_value_stands_and_in_no_key():
    found, problems = replaced('${HOST}: [{b: "${HOST}"}, ~]\nc: ${HOST}')

    assert found == {"${HOST}": [{"b": "h"}, None], "c": "h"}
    assert isinstance(found["c"], Plain)
    assert problems == []
    assert found.marks["c"].text == "${HOST}"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${NONE}", "${NONE} is not set (set it, or write ${NONE:-default})"),
        ("${HOST", "is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)"),
        ("${A:-${B}}", "is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)"),
        ("${}", "is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)"),
        ("${1X}", "is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)"),
        ("${file:relative}", "is not ${VAR}, ${VAR:-default} or ${file:/path} (a literal is $${)"),
        ("${BYTES}", "${BYTES} is not UTF-8 text"),
        ("${file:/nowhere/x}", "/nowhere/x cannot be read: No such file or directory"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(written, told):
    found, problems = replaced(f"a: '{written}'")

    assert isinstance(found["a"], Unknown)
    assert problems == [told]


def test_a_file_gives_its_text_without_the_line_end(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"sk-1\r\n")

    assert replaced(f"a: Bearer ${{file:{secret}}}")[0] == {"a": "Bearer sk-1"}


@pytest.mark.parametrize(
    ("content", "told"), [(b"\xff", "is not UTF-8 text"), (b"x" * 65537, "larger than 64 KiB")]
)
def test_a_file_that_is_no_secret_is_told(tmp_path, content, told):
    secret = tmp_path / "secret"
    secret.write_bytes(content)

    assert told in replaced(f"a: ${{file:{secret}}}")[1][0]


def test_a_file_name_that_cannot_exist_is_told():
    assert replaced('a: "${file:/\\0}"')[1] == ["names a file that cannot exist"]


def test_without_environment_what_cannot_be_known_is_no_problem():
    found, problems = replaced("a: ${HOST}\nb: ${file:/x}\nc: ${HOST:-d}", env=None)

    assert isinstance(found["a"], Unknown)
    assert isinstance(found["b"], Unknown)
    assert found["c"] == "d"
    assert problems == []


def test_without_environment_what_is_malformed_is_still_told():
    assert replaced("a: ${", env=None)[1] != []
