"""The picture of a run: three figures of each contender as bars, ours in colour.

Nothing here measures. The drawing library is needed for drawing alone, so nothing else asks for it.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contenders import ENVOY, OCTOLLM
from scenarios import Scenario, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, OTHERS, MUST, INK = "#c2410c", "#94a3b8", "#1d4ed8", "#1e293b"


class Panel(NamedTuple):
    """One question: a scenario's cost, times *scale*, and the line ours must not cross."""

    key: str
    title: str
    scale: float
    must: Callable[[float | None], float | None]
    """Given Envoy's."""
    said: str


PANELS = (
    Panel("small-64", "CPU µs per request, 64 connections", 1e6, lambda envoy: envoy, "as Envoy"),
    Panel(
        "events",
        "CPU µs per event, 500 streams",
        1e6,
        lambda envoy: envoy and 1.2 * envoy,
        "1.2 times Envoy",
    ),
    Panel("idle", "KiB per idle stream", 1, lambda _: 30.0, "30 KiB"),
)


def draw(path: Path, results: Sequence[tuple[Scenario, Sequence[Series]]]) -> bool:
    """Write the chart as a PNG; False where nothing was asked that it shows, or no matplotlib."""
    asked = {scenario.key: series for scenario, series in results}
    panels = [panel for panel in PANELS if panel.key in asked]
    if not panels or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(4.4 * len(panels), 3.6), dpi=150, layout="constrained")
    figure.set_facecolor("white")  # a page may be dark, and ink on nothing would not be seen
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        costs = {one.name: _cost(one) * panel.scale for one in asked[panel.key] if one.samples}
        _bars(axes, panel, {name: cost for name, cost in costs.items() if cost})
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return True


def _cost(one: Series) -> float:
    return one.median(lambda sample: sample.cost)


def _bars(axes: "Axes", panel: Panel, costs: dict[str, float]) -> None:
    names = sorted(costs, key=lambda name: -costs[name])
    end = _end(list(costs.values()))
    lengths = [min(costs[name], end) for name in names]
    ours = OCTOLLM.name
    axes.barh(names, lengths, color=[OURS if name == ours else OTHERS for name in names])
    for row, name in enumerate(names):
        cut = " →" if costs[name] > end else ""
        weight = "bold" if name == ours else "normal"
        axes.annotate(
            f"{costs[name]:,.1f}{cut}" if costs[name] < 1000 else f"{costs[name]:,.0f}{cut}",
            (lengths[row], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            weight=weight,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},  # over the line
        )
        axes.get_yticklabels()[row].set(color=INK, weight=weight)
    must = panel.must(costs.get(ENVOY))
    if must is not None:
        axes.axvline(must, color=MUST, linestyle="--", linewidth=1.4, label=f"must: {panel.said}")
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0), frameon=False, labelcolor=INK)
    axes.set_title(panel.title, color=INK, fontsize=11, loc="left")
    axes.set_xlim(0, max(end, must or 0) * 1.25)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelbottom=False)


def _end(costs: list[float]) -> float:
    """Give the length of the longest bar: one that dwarfs the rest is cut, and says its number."""
    *rest, longest = sorted(costs) or [1.0]
    return min(longest, 1.5 * rest[-1]) if rest and longest > 3 * rest[-1] else longest
