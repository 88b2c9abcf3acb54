"""A resilience sidecar for services that call LLM APIs and vector databases.

Where to read, from the ground up; a file imports only from floors below its own:

    0  errors      the taxonomy: what can go wrong, and whose fault it is
    1  envelope    an error as status, headers and body, and back
       config      YAML to settings that cannot be wrong
    2  policy      decisions: breaker, retry, budget, deadline; no HTTP, no await
    3  wire        HTTP as bytes; `wire.message` is the seam to everything above
    4  observe     metrics and logs
    5  gateway     the story of one request; begin with `gateway.forward`
       admin       what operators read and do
    6  app         listeners, start, drain: the wiring in one place
    7  cli         commands and exit codes

    testing        a virtual clock and an upstream that misbehaves as told
"""

__version__ = "0.1.0"
