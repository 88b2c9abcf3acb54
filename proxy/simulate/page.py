"""A simulation as one HTML page: the chart and the figures, and nothing from anywhere else.

Rule 1: the page asks for no resource and runs no script. Rule 2: whatever others named is escaped.
It follows the reader's preference for light or dark.
"""

from collections.abc import Callable, Sequence
from html import escape

from proxy.config.units import written
from proxy.policy.transitions import State
from proxy.simulate.figures import figures, rows
from proxy.simulate.record import Run
from proxy.simulate.timeline import Timeline, timeline

STRETCHES = 240
_WIDTH = 960.0
_LEFT = 48.0
_PLOT = _WIDTH - _LEFT
_STATES = {State.CLOSED: "closed", State.HALF_OPEN: "half-open", State.OPEN: "open"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #6a737d; --line: #d8dee4;
  --paper: #fff; --good: #2f8f5b; --bad: #d1483f; --load: #3b6fd4; --half: #e0a526; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --faint: #98a2ad;
  --line: #353b42; --paper: #15181b; --good: #4fb67d; --bad: #ef6e65; --load: #7aa2f7;
  --half: #e5b84b; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { color: var(--faint); margin: .2rem 0; }
svg { width: 100%; height: auto; display: block; } text { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--line); } .served { fill: var(--good); } .failed { fill: var(--bad); }
.load { fill: none; stroke: var(--load); stroke-width: 1.5; }
.closed { fill: var(--good); opacity: .35; } .half-open { fill: var(--half); }
.open, .failing { fill: var(--bad); }
.key span { margin-right: 1.2rem; } .key i { display: inline-block; width: .8em; height: .8em;
  margin-right: .4em; border-radius: 2px; }
table { border-collapse: collapse; margin-top: 1rem; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem 1rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
  font-weight: normal; } td:first-child, th:first-child { text-align: left; }
th { color: var(--faint); }
"""

_KEY = (
    ("served", "--good", 1),
    ("not served; breaker open", "--bad", 1),
    ("attempts at the upstream", "--load", 1),
    ("breaker half-open", "--half", 1),
    ("breaker closed", "--good", 0.35),
)


def render(runs: Sequence[Run]) -> str:
    """Give the page of one run, or of two with their difference."""
    first = runs[0]
    times = [timeline(run.record, run.scenario, STRETCHES) for run in runs]
    answers = max(max(map(sum, zip(time.served, time.failed, strict=True))) for time in times)
    load = max(max(time.load) for time in times)
    charts = [
        f"<h2>{escape(run.name)}</h2>\n{_chart(time, max(answers, 1e-9), max(load, 1e-9))}"
        for run, time in zip(runs, times, strict=True)
    ]
    key = "".join(
        f'<span><i style="background:var({colour});opacity:{opacity}"></i>{name}</span>'
        for name, colour, opacity in _KEY
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(first.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(first.title)}</h1>
<p>{escape(first.scenario.about)}</p>
<p>{written(first.scenario.duration)} simulated, seed {first.seed}</p>
{"".join(charts)}
<p class="key">{key}</p>
{_table(runs)}
</body>
</html>
"""


def _chart(time: Timeline, answers: float, load: float) -> str:
    parts = [
        _band(10, "failing", [f"{100 * share:.0f} %" for share in time.failing], _failing(time)),
        _band(30, "breaker", [_STATES[state] for state in time.state], _breaker(time)),
        *_scale(66, 164, answers, "answers/s"),
        _bars(time.failed, 230, 164 / answers, "failed", time.served),
        _bars(time.served, 230, 164 / answers, "served", [0.0] * STRETCHES),
        *_scale(260, 110, load, "attempts/s"),
        _path(time.load, 370, 110 / load),
        *(
            f'<text x="{_x(n * STRETCHES / 4):.1f}" y="388" text-anchor="{anchor}">{label}</text>'
            for n, anchor, label in _ticks(time.duration)
        ),
    ]
    about = "answers, breaker state and load over time"
    return f'<svg viewBox="0 0 {_WIDTH:.0f} 396" role="img" aria-label="{about}">\n' + (
        "\n".join(parts) + "\n</svg>\n"
    )


def _x(stretch: float) -> float:
    return _LEFT + _PLOT * stretch / STRETCHES


def _ticks(duration: float) -> list[tuple[int, str, str]]:
    anchors = ("start", "middle", "middle", "middle", "end")
    return [(n, anchor, written(duration * n / 4)) for n, anchor in enumerate(anchors)]


def _failing(time: Timeline) -> Callable[[int], str]:
    return lambda n: f'class="failing" opacity="{time.failing[n]:.2f}"'


def _breaker(time: Timeline) -> Callable[[int], str]:
    return lambda n: f'class="{_STATES[time.state[n]]}"'


def _band(y: int, label: str, said: Sequence[str], style: Callable[[int], str]) -> str:
    """Draw a strip; neighbours that say the same are one piece."""
    pieces = [f'<text x="0" y="{y + 11}">{label}</text>']
    begin = 0
    for n in range(1, STRETCHES + 1):
        if n == STRETCHES or said[n] != said[begin]:
            width = _x(n) - _x(begin)
            pieces.append(
                f'<rect x="{_x(begin):.2f}" y="{y}" width="{width:.2f}" height="14"'
                f" {style(begin)}><title>{label}: {said[begin]}</title></rect>"
            )
            begin = n
    return "\n".join(pieces)


def _scale(top: int, height: int, highest: float, label: str) -> list[str]:
    bottom = top + height
    return [
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}"/>'
            for y in (top, bottom)
        ),
        f'<text x="{_LEFT - 6}" y="{top + 5}" text-anchor="end">{highest:.3g}</text>',
        f'<text x="{_LEFT - 6}" y="{bottom + 4}" text-anchor="end">0</text>',
        f'<text x="{_LEFT + 4}" y="{top - 4}">{label}</text>',
    ]


def _bars(
    values: Sequence[float], bottom: int, factor: float, style: str, below: Sequence[float]
) -> str:
    """Draw bars as one shape, each standing on what is *below* it."""
    width = _PLOT / STRETCHES
    steps = [
        f"M{_x(n):.2f} {bottom - factor * base:.1f}h{width:.2f}v{-factor * value:.1f}h{-width:.2f}z"
        for n, (value, base) in enumerate(zip(values, below, strict=True))
        if value
    ]
    return f'<path class="{style}" d="{"".join(steps)}"/>'


def _path(values: Sequence[float], bottom: int, factor: float) -> str:
    points = " ".join(
        f"{_x(n + 0.5):.2f},{bottom - factor * value:.1f}" for n, value in enumerate(values)
    )
    return f'<polyline class="load" points="{points}"/>'


def _table(runs: Sequence[Run]) -> str:
    head = ""
    if len(runs) == 2:
        names = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
        head = f"<tr><th></th>{names}<th>difference</th></tr>\n"
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        for row in rows([figures(run.record, run.scenario) for run in runs])
    )
    return f"<table>\n{head}{lines}</table>"
