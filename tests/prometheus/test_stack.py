"""docker-compose.yml as one whole: who scrapes, asks and calls whom, as far as it goes without Docker."""

import asyncio
import subprocess
import sys

import pytest
import yaml
from prometheus.files import CONFIG, DASHBOARD, FOLDER, GRAFANA, ROOT

from proxy.config.load import load
from proxy.testing.upstream import Upstream

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
PROXY = load(ROOT / "config/compose.yaml", {})


def mounts(service):
    """Give what a service sees of the repository, by where it sees it."""
    pairs = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    return {inside: ROOT / source for source, inside in pairs if source.startswith("./")}


def test_every_service_waits_only_for_those_that_are_there():
    assert set(SERVICES) == {"proxy", "llm", "vectors", "callers", "redis", "prometheus", "grafana"}
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)


def test_no_foreign_image_is_the_newest_of_whatever_there_is():
    for service in SERVICES.values():
        name, _, tag = service["image"].partition(":")
        assert name == "octollm-proxy" or tag[-1].isalnum()
        assert tag != "latest"
        assert "@sha256" not in tag


def test_every_port_is_published_on_this_machine_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len(published) == 4


def test_what_is_written_has_a_volume_of_its_own():
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith("./")
    }

    assert named == set(COMPOSE["volumes"])


def test_prometheus_finds_its_config_its_rules_and_the_proxy():
    assert mounts("prometheus") == {"/etc/prometheus": FOLDER}
    assert CONFIG == FOLDER / "prometheus.yml"
    (scrape,) = yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    (target,) = scrape["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in SERVICES
    assert int(port) == PROXY.admin.port


def test_grafana_finds_prometheus_and_the_dashboard():
    seen = mounts("grafana")
    assert seen["/etc/grafana/provisioning"] == GRAFANA / "provisioning"
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load(
        (GRAFANA / "provisioning/dashboards/octollm-proxy.yml").read_text()
    )["providers"]
    assert source["url"] == "http://prometheus:9090"
    folder = seen[provider["options"]["path"]]
    assert [file.name for file in folder.iterdir()] == [f"{DASHBOARD['uid']}.json"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD['uid']}.json"


def test_grafana_cannot_be_changed_and_tells_nobody_anything():
    environment = SERVICES["grafana"]["environment"]

    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_ANALYTICS_REPORTING_ENABLED"] == "false"


@pytest.mark.real_time
async def test_the_callers_call_what_the_proxy_serves():
    python, flag, code = SERVICES["callers"]["entrypoint"]
    assert f"proxy:{PROXY.listen.port}" in code
    async with Upstream() as proxy:
        command = (python, flag, code.replace("http://proxy:8080", proxy.url))
        callers = await asyncio.create_subprocess_exec(sys.executable, *command[1:], cwd=ROOT)
        await proxy.asked(6)
        callers.terminate()
        await callers.wait()
        named = {seen.target.split("/")[1] for seen in proxy.seen}

    assert named == set(PROXY.upstreams)


def test_the_callers_end_where_nobody_listens_so_that_they_are_started_again():
    _, *words = SERVICES["callers"]["entrypoint"]
    code = words[-1].replace("http://proxy:8080", "http://127.0.0.1:1")

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, stderr=subprocess.DEVNULL
    )

    assert done.returncode != 0
    assert SERVICES["callers"]["restart"] == "unless-stopped"
