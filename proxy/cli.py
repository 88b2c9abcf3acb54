"""The commands, their words and their exit codes; the door to click.

Exit codes: 0 done, 1 a config with problems or an address that is taken, 2 wrong usage, 3 stopped
with calls still in flight.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

import proxy
from proxy import app
from proxy.config.editor import json_schema
from proxy.config.fields import meant
from proxy.config.load import load
from proxy.config.origin import Origins
from proxy.config.problem import ConfigError
from proxy.config.schema import Config
from proxy.demo import stage
from proxy.explain.drawing import draw
from proxy.explain.report import explain as explained
from proxy.observe import logs
from proxy.simulate import chart, page, scenario
from proxy.simulate.play import play
from proxy.simulate.record import Run

T = TypeVar("T")

DEFAULT_CONFIG = "config/proxy.yaml"

_CONFIG = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(proxy.__version__, prog_name="octollm-proxy")
def main() -> None:
    """A resilience sidecar for services that call LLM APIs and vector databases.

    Try `octollm-proxy demo` first: it needs no key, no network and no other service.
    """


@main.command()
@click.option(
    "-c", "--config", "path", type=_CONFIG, default=DEFAULT_CONFIG, show_default=True,
    help="The YAML file to run with.",
)  # fmt: skip
def serve(path: Path) -> None:
    """Run the proxy until SIGTERM or SIGINT, then let calls in flight end."""
    config = _load(path)
    logs.configure(config.log.level, config.log.format, sys.stderr.buffer)
    app.tell_warnings(config, str(path))
    try:
        code = app.run(config, path)
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from error
    finally:
        logs.close()
    sys.exit(code)


@main.command()
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="End by itself after so long."
)
def demo(seconds: float | None) -> None:
    """Show it all at once: upstreams that misbehave, and what the proxy makes of it.

    Runs the proxy, an LLM and a vector DB that fail on a schedule, and a little traffic, until
    Ctrl-C. Needs no key, no network and no other service.
    """
    stage.run(sys.stdout, seconds)


@main.command()
@click.argument("path", metavar="FILE", type=_CONFIG)
@click.option(
    "--without-env", is_flag=True, help="Accept variables and secret files that are not there."
)
def check(path: Path, without_env: bool) -> None:
    """Validate FILE and print every problem at once, as FILE:LINE:COLUMN: path: what is wrong."""
    config = _load(path, without_env=without_env)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    count = len(config.upstreams)
    click.echo(f"{path}: good, {count} upstream{'s' if count != 1 else ''}")


@main.command()
@click.argument("path", metavar="FILE", type=_CONFIG)
@click.option("--upstream", "name", help="Whose outage it is; the first one in FILE if not given.")
@click.option(
    "--scenario", "story", default="outage", show_default=True,
    help=f"What happens: {', '.join(scenario.BUILT_IN)}, or a file.",
)  # fmt: skip
@click.option("--against", type=_CONFIG, help="Another config that the same happens to.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same chance.")
@click.option("--html", type=_CONFIG, help="Write the report here as a page, too.")
@click.option(
    "--without-env", is_flag=True, help="Accept variables and secret files that are not there."
)
def simulate(
    *,
    path: Path,
    name: str | None,
    story: str,
    against: Path | None,
    seed: int,
    html: Path | None,
    without_env: bool,
) -> None:
    """Replay an outage against the policies of FILE, in virtual time, with the real policy code."""
    told = _or_exit(lambda: scenario.read(story))
    files = [path] if against is None else [path, against]
    configs = [_load(file, without_env=without_env) for file in files]
    upstream = next(iter(configs[0].upstreams), "") if name is None else name
    for file, config in zip(files, configs, strict=True):
        if upstream not in config.upstreams:
            known = ", ".join(config.upstreams) or "none"
            raise click.BadParameter(f"{upstream!r} is not an upstream of {file} ({known})")
    title = f"{Path(story).stem} at {upstream}"
    runs = [
        Run(str(file), title, told, seed, play(config, upstream, told, seed))
        for file, config in zip(files, configs, strict=True)
    ]
    click.echo(chart.draw(runs), nl=False)
    if html is not None:
        try:
            html.write_text(page.render(runs), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{html} cannot be written: {error.strerror}") from error


@main.command()
@click.argument("path", metavar="FILE", type=_CONFIG)
@click.argument("upstream", required=False)
@click.option("--json", "as_json", is_flag=True, help="The same as data.")
@click.option(
    "--without-env", is_flag=True, help="Accept variables and secret files that are not there."
)
def explain(path: Path, upstream: str | None, as_json: bool, without_env: bool) -> None:
    """Show what FILE will do: each value and its origin, retries, waits, when circuits open."""
    config = _load(path, without_env=without_env)
    if upstream is not None and upstream not in config.upstreams:
        raise click.BadParameter(
            f"{upstream!r} is not an upstream{meant(upstream, config.upstreams)}",
            param_hint="UPSTREAM",
        )
    report = explained(str(path), config, Origins(path), upstream)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report), indent=2))
    else:
        click.echo(draw(report), nl=False)


@main.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _load(path: Path, *, without_env: bool = False) -> Config:
    return _or_exit(lambda: load(path, None if without_env else os.environ))


def _or_exit(read: Callable[[], T]) -> T:
    """Read what a person wrote, or print every problem in it and end."""
    try:
        return read()
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(1)
