"""The policies of the proxy around calls of this very process, without a proxy.

    policies    a config file, alive: breakers, budgets and retry policies by upstream
    call        one call under them: deadline, attempts, waits
    failures    what a client library's exception or answer means
    response    `raise_for_envelope`: the proxy's error answers as exceptions

Rule 1: importing this imports no server, no metrics and no client library.
Rule 2: it decides nothing by itself; that is `policy`'s and `semantics`'s, as in the gateway.
"""

from proxy.inprocess.call import Call
from proxy.inprocess.policies import Policies
from proxy.inprocess.response import raise_for_envelope

__all__ = ["Call", "Policies", "raise_for_envelope"]
