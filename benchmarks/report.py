"""From rounds to what people read: a table for each scenario, and one CSV of everything.

Nothing here measures.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import contenders
import musts
from scenarios import Sample, Scenario, Series

BEGIN = "<!-- measured: written by benchmarks/overhead.py -->"
END = "<!-- measured: end -->"

Results = Sequence[tuple[Scenario, Sequence[Series]]]


def write_page(page: Path, text: str) -> None:
    """Put *text* between the page's two markers."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def page(
    results: Results, versions: Mapping[str, str | None], about: str, chart: str | None
) -> str:
    """Give all in Markdown: who was compared and who was not there, chart, promises, tables."""
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    absent = ", ".join(name for name, version in versions.items() if not version) or "nothing"
    picture = (
        f"![CPU time and memory of each contender]({chart})"
        if chart
        else "No chart: matplotlib is not installed, or nothing it shows was measured."
    )
    parts = [f"{about}\n\nCompared: {named}. Not installed: {absent}.\n\n{picture}\n"]
    parts += [f"### What it must cost\n\n{_promises(results)}"]
    parts += [section(scenario, series) for scenario, series in results]
    return "\n".join(parts)


def section(scenario: Scenario, series: Sequence[Series]) -> str:
    """Give one scenario in Markdown."""
    return f"### {scenario.title}\n\n{_table(scenario, series)}"


def _promises(results: Results) -> str:
    found = musts.found(results)
    rows, kept = [], 0
    for must in musts.ALL:
        measured = must.measured(found)
        verdict, figure = "not measured", ""
        if measured is not None:
            met = measured <= must.limit
            kept += met
            verdict, figure = "yes" if met else "**no**", f"{measured:.3g}"
        rows.append([must.what, f"≤ {must.limit:.3g} {must.unit}", figure, verdict])
    text = _lines(["", "must", "measured", "met"], rows, ["---", "---", "---:", "---"])
    return f"{text}\nMet: {kept} of {len(rows)}.\n"


def _lines(heads: list[str], rows: list[list[str]], rule: list[str]) -> str:
    return "".join("| " + " | ".join(line) + " |\n" for line in (heads, rule, *rows))


def _table(scenario: Scenario, series: Sequence[Series]) -> str:
    there = [one for one in series if one.samples]
    if scenario.once:
        heads = ["", "KiB per stream"]
        rows = [[_name(one), f"{one.samples[0].cost:.1f}"] for one in there if one.samples[0].cost]
    else:
        heads = ["", f"CPU µs per {scenario.unit}", "times naive", "times Envoy"]
        heads += [f"{_plural(scenario.unit)}/s", "p50 ms", "p99 ms"]
        rows = [list(_row(one, there)) for one in there]
    text = _lines(heads, rows, ["---", *["---:"] * (len(heads) - 1)])
    failed = [one for one in series if any(sample.failed for sample in one.samples)]
    for one in failed:
        count = sum(sample.failed for sample in one.samples)
        text += f"\n{one.name}: {count} of its answers failed or never came.\n"
    for one in series:
        if one.left_out:
            text += f"\n{one.name} is left out here: it ended, or answered nothing.\n"
    return text


def _row(one: Series, series: Sequence[Series]) -> Iterator[str]:
    yield _name(one)
    cost = one.median(lambda sample: sample.cost)
    yield f"{cost * 1e6:.1f}" if cost else ""
    for yardstick in (contenders.NAIVE.name, "Envoy"):
        other = next((found for found in series if found.name == yardstick), None)
        ratio = one.ratio(other) if other is not None and cost else None
        yield f"{ratio:.2f}" if ratio else ""
    yield f"{one.median(lambda sample: sample.rate):,.0f}"
    yield f"{one.median(lambda sample: sample.p50) * 1e3:.2f}"
    yield f"{one.median(lambda sample: sample.p99) * 1e3:.2f}"


def _name(one: Series) -> str:
    return f"**{one.name}**" if one.name == contenders.OCTOLLM.name else one.name


def _plural(unit: str) -> str:
    return unit if unit.isupper() or unit == "MiB" else unit + "s"


def write_csv(path: Path, results: Results, versions: Mapping[str, str | None]) -> None:
    """Write each round of each contender: costs in µs of CPU (or KiB), latencies in ms."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(
            ["scenario", "contender", "version", "round", "unit", "cost", "rate", "p50", "p99"]
        )
        for scenario, series in results:
            for one in series:
                for number, sample in enumerate(one.samples, 1):
                    cost = sample.cost if scenario.once else sample.cost * 1e6
                    head = [scenario.key, one.name, versions.get(one.name) or "", number]
                    lines.writerow([*head, scenario.unit, f"{cost:.2f}", *_figures(sample)])


def _figures(sample: Sample) -> list[str]:
    return [f"{sample.rate:.1f}", f"{sample.p50 * 1e3:.3f}", f"{sample.p99 * 1e3:.3f}"]
