"""A simulation as text for a terminal: what happened over time, and the figures below it.

Rule: what is drawn is a function of what it shows; plain Unicode, 80 columns, no colour needed.
"""

from collections.abc import Sequence

from proxy.config.units import written
from proxy.policy.transitions import State
from proxy.simulate.figures import figures, rows
from proxy.simulate.record import Run
from proxy.simulate.timeline import Timeline, timeline

COLUMNS = 64
_LABEL = 10
_SCALE = 5
_ROWS = 3
_BLOCKS = " ▁▂▃▄▅▆▇█"
_STATES = {State.CLOSED: "·", State.HALF_OPEN: "▒", State.OPEN: "█"}


def draw(runs: Sequence[Run]) -> str:
    """Draw one run, or two with their difference."""
    first = runs[0]
    about = f"{first.title}, {written(first.scenario.duration)} simulated, seed {first.seed}"
    lines = [about, *([first.scenario.about] if first.scenario.about else [])]
    times = [timeline(run.record, run.scenario, COLUMNS) for run in runs]
    highest = max(max(time.served + time.failed) for time in times)
    heaviest = max(max(time.load) for time in times)
    for run, time in zip(runs, times, strict=True):
        lines += ["", run.name, *_chart(time, highest, heaviest)]
    lines += ["", *_table(runs)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _chart(time: Timeline, highest: float, heaviest: float) -> list[str]:
    outage = "".join(_BLOCKS[_level(share, 8)] for share in time.failing)
    return [
        _line("failing", "", outage),
        _line("breaker", "", "".join(_STATES[state] for state in time.state)),
        *_bars("served/s", time.served, highest),
        *_bars("failed/s", time.failed, highest),
        *_bars("attempts/s", time.load, heaviest),
        _line("", "", _axis(time.duration)),
        _line("", "", "breaker: · closed  ▒ half-open  █ open"),
    ]


def _bars(label: str, values: Sequence[float], highest: float) -> list[str]:
    levels = [_level(value / highest if highest else 0.0, 8 * _ROWS) for value in values]
    lines = []
    for row in reversed(range(_ROWS)):
        blocks = "".join(_BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        top, bottom = row == _ROWS - 1, row == 0
        lines.append(_line(label if top else "", f"{highest:.0f}" if top else "0" * bottom, blocks))
    return lines


def _level(share: float, levels: int) -> int:
    """Give a height; what is not nothing is never drawn as nothing."""
    return max(min(levels, round(share * levels)), 1 if share > 0 else 0)


def _line(label: str, scale: str, drawn: str) -> str:
    return f"{label:<{_LABEL}}{scale:>{_SCALE}} {drawn}"


def _axis(duration: float) -> str:
    middle, end = written(round(duration / 2)), written(duration)
    return f"0{middle:^{COLUMNS - 2 * len(end)}}".ljust(COLUMNS - len(end)) + end


def _table(runs: Sequence[Run]) -> list[str]:
    table = rows([figures(run.record, run.scenario) for run in runs])
    if len(runs) == 2:
        table = [["", *(_short(run.name) for run in runs), "difference"], *table]
    return [f"{name:<31}" + "".join(f"{cell:>16}" for cell in cells) for name, *cells in table]


def _short(name: str) -> str:
    return name if len(name) <= 15 else "…" + name[-14:]
