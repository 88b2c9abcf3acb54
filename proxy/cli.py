"""The commands, their words and their exit codes; the door to click.

A command imports what only it needs, when it runs: a shell that completes a word runs us at every
Tab, and who asks for the version needs no server.

Exit codes: 0 done, 1 a config with problems or an address that is taken, 2 wrong usage, 3 stopped
with calls still in flight.
"""
# ruff: noqa: PLC0415 -- imports inside commands, as said above

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import get_completion_class

import proxy

if TYPE_CHECKING:
    from proxy.config.schema import Config

T = TypeVar("T")

NAME = "octollm-proxy"
DEFAULT_CONFIG = "config/proxy.yaml"

SCENARIOS = ("brownout", "cold-start", "flapping", "outage", "rate-limit", "slow")
"""What `simulate` has built in; a test compares it with what there is."""

_CONFIG = click.Path(path_type=Path)

_EPILOG = """\b
From a file to a running proxy:
  octollm-proxy check proxy.yaml       # every mistake at once, with its line
  octollm-proxy explain proxy.yaml     # what it will do
  octollm-proxy serve -c proxy.yaml    # or OCTOLLM_PROXY_CONFIG=proxy.yaml
  curl http://127.0.0.1:8081/-/ready

Exit codes: 0 done; 1 the config has problems, or an address is taken; 2 wrong usage; 3 stopped
with calls still in flight.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(proxy.__version__, prog_name=NAME)
def main() -> None:
    """A resilience sidecar for services that call LLM APIs and vector databases.

    Try `octollm-proxy demo` first: it needs no key, no network and no other service.
    """


@main.command()
@click.option(
    "-c", "--config", "path", type=_CONFIG, default=DEFAULT_CONFIG, show_default=True,
    envvar="OCTOLLM_PROXY_CONFIG", show_envvar=True, help="The YAML file to run with.",
)  # fmt: skip
@click.option(
    "--admin-port", type=click.IntRange(0, 65535),
    help="In place of the file's admin.port, where several processes share the file.",
)  # fmt: skip
def serve(path: Path, admin_port: int | None) -> None:
    """Run the proxy until SIGTERM or SIGINT, then drain.

    Calls in flight get the time that `drain` gives them. A second signal ends it at once. SIGHUP
    reads the file again.
    """
    from proxy import app
    from proxy.observe import logs

    config = _load(path)
    logs.configure(config.log.level, config.log.format, sys.stderr.buffer)
    app.tell_warnings(config, str(path))
    try:
        code = app.run(config, path, admin_port)
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
    """Show it all at once, with upstreams that misbehave.

    Runs the proxy, an LLM and a vector DB that fail on a schedule, and a little traffic, until
    Ctrl-C. Needs no key, no network and no other service.
    """
    from proxy.demo import stage

    stage.run(sys.stdout, seconds)


@main.command()
@click.argument("path", metavar="FILE", type=_CONFIG)
@click.option(
    "--without-env", is_flag=True, help="Accept variables and secret files that are not there."
)
def check(path: Path, without_env: bool) -> None:
    """Print every problem of FILE at once, or that it is good.

    A problem reads FILE:LINE:COLUMN: path: what is wrong (what was meant).
    """
    from proxy.explain.caution import cautions, target_cautions

    config = _load(path, without_env=without_env)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    count = len(config.upstreams)
    click.echo(f"{path}: good, {count} upstream{'s' if count != 1 else ''}")
    found = [
        caution
        for one in config.upstreams.values()
        for caution in (*cautions(one), *target_cautions(one, config))
    ]
    more = len(found)
    if more:
        things = "thing" if more == 1 else "things"
        click.echo(f"note: {NAME} explain {path} has {more} more {things} worth a look", err=True)


@main.command()
@click.argument("path", metavar="FILE", type=_CONFIG)
@click.option("--upstream", "name", help="Whose outage it is; the first one in FILE if not given.")
@click.option("--pool", help="Callers ask for this pool, of which the upstream is a member.")
@click.option(
    "--scenario", "story", default="outage", show_default=True,
    help=f"What happens: {', '.join(SCENARIOS)}, or a file.",
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
    pool: str | None,
    story: str,
    against: Path | None,
    seed: int,
    html: Path | None,
    without_env: bool,
) -> None:
    """Replay an outage against FILE's policies, in virtual time.

    The policies are the real code that `serve` runs.
    """
    from proxy.simulate import chart, page, scenario
    from proxy.simulate.play import play
    from proxy.simulate.record import Run

    told = _or_exit(lambda: scenario.read(story))
    files = [path] if against is None else [path, against]
    configs = [_load(file, without_env=without_env) for file in files]
    upstream = next(iter(configs[0].upstreams), "") if name is None else name
    for file, config in zip(files, configs, strict=True):
        if upstream not in config.upstreams:
            known = ", ".join(config.upstreams) or "none"
            raise click.BadParameter(f"{upstream!r} is not an upstream of {file} ({known})")
        if pool is not None and not (
            pool in config.pools and upstream in config.pools[pool].members
        ):
            raise click.BadParameter(f"{upstream!r} is not a member of a pool {pool!r} of {file}")
    title = f"{Path(story).stem} at {upstream}" + (f", asked as {pool}" if pool else "")
    runs = [
        Run(str(file), title, told, seed, play(config, upstream, told, seed, pool))
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
    """Show what FILE does: values, retries, waits, circuits.

    Each value has its origin; the retries are a drawing in time, with the longest a caller waits.
    """
    import dataclasses

    from proxy.config.fields import meant
    from proxy.config.origin import Origins
    from proxy.explain.drawing import draw
    from proxy.explain.report import explain as explained

    config = _load(path, without_env=without_env)
    if upstream in config.pools:
        members = ", ".join(config.pools[upstream].members)
        message = f"{upstream!r} is a pool; name one of its members ({members}), or leave it out"
        raise click.BadParameter(message, param_hint="UPSTREAM")
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
    from proxy.config.editor import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets SHELL complete commands and options.

    \b
    bash: octollm-proxy completion bash > ~/.local/share/bash-completion/completions/octollm-proxy
    zsh:  eval "$(octollm-proxy completion zsh)", in ~/.zshrc after compinit
    fish: octollm-proxy completion fish > ~/.config/fish/completions/octollm-proxy.fish
    """  # noqa: D301 -- click's mark is the character
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(main, {}, NAME, "_OCTOLLM_PROXY_COMPLETE").source())


def _load(path: Path, *, without_env: bool = False) -> "Config":
    from proxy.config.load import load

    return _or_exit(lambda: load(path, None if without_env else os.environ))


def _or_exit(read: Callable[[], T]) -> T:
    """Read what a person wrote, or print every problem in it and end."""
    from proxy.config.problem import ConfigError

    try:
        return read()
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(1)
