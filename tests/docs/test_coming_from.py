"""docs/coming-from.md: our half of each example is loaded, and says what their half says."""

import re
from pathlib import Path

import pytest
import yaml
from docs.keys import keys
from prometheus.files import strangers

from proxy.config.load import parse
from proxy.errors import taxonomy

TEXT = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text()
BLOCKS = re.findall(r'^```yaml title="(\w+)"\n(.*?)^```', TEXT, re.DOTALL | re.MULTILINE)
THEIRS = {title: yaml.safe_load(text) for title, text in BLOCKS if title != "here"}
KEYS = keys()


def ours():
    """Give the config that stands beside each of theirs."""
    texts = [text for title, text in BLOCKS if title == "here"]
    return dict(
        zip(THEIRS, (parse(text, "p", {"OPENAI_API_KEY": "k"}) for text in texts), strict=True)
    )


def test_our_half_of_each_example_raises_no_brow():
    assert set(THEIRS) == {"LiteLLM", "Envoy", "resilience4j"}
    assert [config.warnings for config in ours().values()] == [()] * 3


def test_litellm_in_numbers():
    theirs, here = THEIRS["LiteLLM"], ours()["LiteLLM"].upstreams["openai"]
    router = theirs["router_settings"]
    small = theirs["model_list"][1]["litellm_params"]

    assert here.policy.retry.max_retries == router["num_retries"]
    assert here.breaker.failure_threshold == router["allowed_fails"]
    assert here.breaker.timeout == router["cooldown_time"]
    assert [f"openai/{target.set['model']}" for target in here.fallback] == [small["model"]]


def test_envoy_in_numbers():
    theirs, here = THEIRS["Envoy"], ours()["Envoy"].upstreams["qdrant"]
    (host,) = theirs["route_config"]["virtual_hosts"]
    route = host["routes"][0]["route"]
    policy = route["retry_policy"]
    (cluster,) = theirs["clusters"]
    (caps,) = cluster["circuit_breakers"]["thresholds"]
    outliers = cluster["outlier_detection"]

    assert here.policy.timeouts.total == seconds(route["timeout"])
    assert here.policy.timeouts.first_byte == seconds(policy["per_try_timeout"])
    assert here.policy.timeouts.connect == seconds(cluster["connect_timeout"])
    assert here.policy.retry.max_retries == policy["num_retries"]
    assert here.policy.retry.base_delay == seconds(policy["retry_back_off"]["base_interval"])
    assert here.policy.retry.max_delay == seconds(policy["retry_back_off"]["max_interval"])
    assert set(policy["retriable_status_codes"]) < set(here.policy.retry.retry_on)
    assert here.limits.connections == caps["max_connections"]
    assert here.limits.pending == caps["max_pending_requests"]
    assert here.breaker.failure_threshold == outliers["consecutive_5xx"]
    assert here.breaker.timeout == seconds(outliers["base_ejection_time"])
    assert here.breaker.max_timeout == seconds(outliers["max_ejection_time"])


def test_resilience4j_in_numbers():
    theirs, here = THEIRS["resilience4j"]["resilience4j"], ours()["resilience4j"]
    here = here.upstreams["search"]
    breaker, retry, bulkhead = (
        theirs[kind]["instances"]["search"] for kind in ("circuitbreaker", "retry", "bulkhead")
    )

    assert here.breaker.window == breaker["slidingWindowSize"]
    assert here.breaker.min_requests == breaker["minimumNumberOfCalls"]
    assert here.breaker.failure_rate * 100 == breaker["failureRateThreshold"]
    assert here.breaker.timeout == seconds(breaker["waitDurationInOpenState"])
    assert here.breaker.success_threshold == breaker["permittedNumberOfCallsInHalfOpenState"]
    assert here.policy.retry.max_retries + 1 == retry["maxAttempts"]
    assert here.policy.retry.base_delay * 1000 == int(retry["waitDuration"].removesuffix("ms"))
    assert here.policy.retry.exponential_base == retry["exponentialBackoffMultiplier"]
    assert here.limits.concurrency == bulkhead["maxConcurrentCalls"]
    assert here.limits.queue.timeout == seconds(bulkhead["maxWaitDuration"])


def seconds(text):
    return float(text.removesuffix("s"))


def test_a_name_of_ours_is_one():
    blocks = "|".join({key.partition(".")[0] for key in KEYS})
    ours = [row.partition("|")[2] for row in re.findall(r"^\| (.*) \|$", TEXT, re.MULTILINE)]
    named = set(re.findall(rf"`((?:{blocks})\.\w+)", "\n".join(ours)))
    codes = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", "\n".join(ours)))

    assert named - KEYS == set()
    assert codes - {cls.error_code for cls in taxonomy()} == set()
    assert strangers(TEXT) == set()
    assert len(named) > 20


@pytest.mark.parametrize("theirs", THEIRS)
def test_each_says_what_is_missed(theirs):
    (section,) = re.findall(rf"^## {theirs}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)

    assert "**What will surprise you**" in section
    assert "**What is not here**" in section
