"""`python -m proxy` is `octollm-proxy`."""

from proxy.cli import main

main()
