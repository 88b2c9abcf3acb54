"""Precision and recall of each pattern on the samples beside this file.

`PATTERN.true.txt` has one sentence a line, in which ⟦…⟧ is what must be found, exactly so.
A · within is left out: a key with one is no key to those who scan repositories for keys.
`PATTERN.near.txt` has sentences in which that pattern must find nothing.
`python tests/guard/record.py` prints the table of docs/guard.md.
"""

from pathlib import Path

from proxy.guard.patterns import PATTERNS, Recogniser

SAMPLES = Path(__file__).parent / "samples"
REGIONS = ("US",)


def found(recogniser: Recogniser, text: str) -> list[str]:
    return [text[finding.start : finding.end] for finding in recogniser.find(text)]


def lines(pattern: str, kind: str) -> list[str]:
    text = (SAMPLES / f"{pattern}.{kind}.txt").read_text(encoding="utf-8")
    return text.replace("·", "").splitlines()


def missed(pattern: str) -> list[str]:
    recogniser = Recogniser([pattern], REGIONS)
    wrong = []
    for line in lines(pattern, "true"):
        before, rest = line.split("⟦")
        value, after = rest.split("⟧")
        if found(recogniser, before + value + after) != [value]:
            wrong.append(line)
    return wrong


def mistaken(pattern: str) -> list[str]:
    recogniser = Recogniser([pattern], REGIONS)
    return [line for line in lines(pattern, "near") if found(recogniser, line)]


def table() -> str:
    rows = ["| pattern | true | found | near misses | mistaken | precision | recall |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for pattern in PATTERNS:
        true, near = len(lines(pattern, "true")), len(lines(pattern, "near"))
        right, wrong = true - len(missed(pattern)), len(mistaken(pattern))
        rows.append(
            f"| `{pattern}` | {true} | {right} | {near} | {wrong}"
            f" | {right / (right + wrong):.3f} | {right / true:.3f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201
