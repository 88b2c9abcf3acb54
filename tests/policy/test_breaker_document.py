from pathlib import Path

from proxy.policy.transitions import Reason, diagram

DOCUMENT = Path(__file__).parents[2] / "docs" / "breaker.md"


def test_the_diagram_in_the_docs_is_drawn_from_the_table():
    assert f"```mermaid\n{diagram()}\n```" in DOCUMENT.read_text()


def test_every_reason_is_explained():
    text = DOCUMENT.read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in text] == []
