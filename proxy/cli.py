"""The commands, their words and their exit codes; the door to click.

Exit codes: 0 done, 1 a config with problems or an address that is taken, 2 wrong usage, 3 stopped
with calls still in flight.
"""

import os
import sys
from pathlib import Path

import click

import proxy
from proxy import app
from proxy.config.load import load
from proxy.config.problem import ConfigError
from proxy.config.schema import Config
from proxy.demo import stage
from proxy.observe import logs

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
    for warning in config.warnings:
        logs.get().warning("config.warning", file=str(path), problems=[str(warning)])
    try:
        code = app.run(config)
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


def _load(path: Path, *, without_env: bool = False) -> Config:
    try:
        return load(path, None if without_env else os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(1)
