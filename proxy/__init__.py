"""A resilience sidecar for services that call LLM APIs and vector databases.

Where to read, from the ground up; a file imports only from floors below its own:

    0  errors      the taxonomy: what can go wrong, and whose fault it is
    1  envelope    an error as status, headers and body, and back
       config      YAML to settings that cannot be wrong
    2  policy      decisions: breaker, retry, budget, deadline, limits; no HTTP, no await
       semantics   what HTTP means to them: statuses, waits, what may be repeated
       guard       what a request's body holds that may not leave
    3  wire        HTTP as bytes; `wire.message` is the seam to everything above
    4  observe     metrics, logs, traces, and what an operator remembers
       cache       answers that are kept
    5  gateway     the story of one request; begin with `gateway.forward`
       inprocess   the same policies for Python services, without a proxy
       admin       what operators read and do
    6  app         listeners, start, drain: the wiring in one place
    7  cli         commands and exit codes

    testing        a virtual clock and an upstream that misbehaves as told
"""

__version__ = "0.1.0"
