"""The Kubernetes examples: against the API's own schemas, and against what they say of the proxy."""

import re
from pathlib import Path

import pytest
import yaml

from proxy.config.load import load

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "config" / "kubernetes").glob("*.yaml"))
IDS = [path.name for path in EXAMPLES]
OLDEST = "1.30"
"""`sleep` as a preStop is on by default from here on."""


def resources(path):
    return list(yaml.safe_load_all(path.read_text()))


def pod(path):
    (found,) = [it for it in resources(path) if it["kind"] == "Deployment"]
    return found["spec"]["template"]["spec"]


def container(path):
    spec = pod(path)
    (found,) = [
        it
        for it in (*spec.get("initContainers", ()), *spec["containers"])
        if it["image"].startswith("octollm-proxy:")
    ]
    return found


@pytest.fixture
def config(tmp_path):
    """What the proxy of an example is given, read as it would read it."""

    def read(path):
        (found,) = [it for it in resources(path) if it["kind"] == "ConfigMap"]
        text = found["data"]["proxy.yaml"]
        for secret in re.findall(r"\$\{file:/run/secrets/octollm/([\w-]+)\}", text):
            (tmp_path / secret).write_text("a-secret-of-some-length")
        text = text.replace("/run/secrets/octollm/", f"{tmp_path}/")
        (tmp_path / "proxy.yaml").write_text(text)
        return load(tmp_path / "proxy.yaml", {})

    return read


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_the_api_would_take_it(path):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")

    for resource in resources(path):
        for version in (OLDEST, validate.latest_version()):
            validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_its_config_is_good_and_nothing_to_warn_of(path, config):
    assert config(path).upstreams
    assert config(path).warnings == ()


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_each_probe_asks_the_admin_listener_where_it_is(path, config):
    ports = {port["name"]: port["containerPort"] for port in container(path)["ports"]}
    probes = {
        name: (ask["path"], ports[ask["port"]])
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
        for ask in [container(path)[name]["httpGet"]]
    }

    admin = config(path).admin
    assert admin.host == "0.0.0.0"
    assert probes == {
        "startupProbe": ("/-/ready", admin.port),
        "readinessProbe": ("/-/ready", admin.port),
        "livenessProbe": ("/-/healthy", admin.port),
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_draining_is_given_its_time(path, config):
    drain = config(path).drain
    stops = [it.get("lifecycle", {}).get("preStop", {}) for it in pod(path)["containers"]]
    before = max(stop.get("sleep", {}).get("seconds", 0) for stop in stops)

    assert pod(path)["terminationGracePeriodSeconds"] > before + drain.delay + drain.timeout + 1


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_it_is_not_root_writes_nothing_and_has_a_bound(path, config):
    proxy = container(path)
    security = {**pod(path)["securityContext"], **proxy["securityContext"]}
    limit = int(proxy["resources"]["limits"]["memory"].removesuffix("Mi")) << 20

    assert security["runAsNonRoot"]
    assert security["runAsUser"] > 0
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert limit > 2 * config(path).limits.replay_memory


@pytest.mark.parametrize("path", EXAMPLES, ids=IDS)
def test_every_file_that_is_read_is_in_a_folder_that_is_mounted(path, config):
    mounts = [mount["mountPath"] for mount in container(path)["volumeMounts"]]
    (text,) = [it["data"]["proxy.yaml"] for it in resources(path) if it["kind"] == "ConfigMap"]
    named = [part.partition("}")[0] for part in text.split("${file:")[1:]]

    assert named
    assert {str(Path(file).parent) for file in named} <= set(mounts)
    assert all("subPath" not in mount for mount in container(path)["volumeMounts"])
    assert all(mount["readOnly"] for mount in container(path)["volumeMounts"])


def test_the_sidecar_is_one_and_only_its_pod_can_call_it(config):
    path = ROOT / "config/kubernetes/sidecar.yaml"
    (service,) = pod(path)["containers"]
    told = {variable["name"]: variable["value"] for variable in service["env"]}
    listen = config(path).listen

    assert pod(path)["initContainers"][0]["restartPolicy"] == "Always"
    assert listen.host == "127.0.0.1"
    assert told["OPENAI_BASE_URL"] == f"http://127.0.0.1:{listen.port}/openai/v1"
    assert config(path).drain.delay == 0


def test_the_gateway_asks_for_a_token_and_tells_balancers_in_time(config):
    path = ROOT / "config/kubernetes/gateway.yaml"

    assert config(path).listen.token
    assert config(path).drain.delay > container(path)["readinessProbe"]["periodSeconds"]
