"""Explaining a config that is written in the test."""

from proxy.config.load import load
from proxy.config.origin import Origins
from proxy.config.schema import Policy
from proxy.explain.report import explain


def explained(tmp_path, text, only=None):
    """Write the file, and give its report."""
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    return explain("proxy.yaml", load(path, {}), Origins(path), only)


def policy(timeouts=None, retry=None, stream=None):
    """Give a policy of `http`, with these keys as the file would write them."""
    given = {"timeouts": timeouts, "retry": retry, "stream": stream}
    return Policy.model_validate({key: value for key, value in given.items() if value})
