"""The decisions: may this call go, may it be repeated, how long may it take.

Rule 1: everything here is synchronous; clock and randomness are parameters, nothing waits.
Rule 2: nothing here knows HTTP, a socket or an event loop.

    breaker      stop calling what is down; its states are a table in `transitions`
    permit       leave to make a call, and how its end gets back to the breaker
    circuit      the state and counts that pybreaker keeps for it; the door to that
    outcome      what the end of a call tells about the upstream
    retry        is this failure worth another attempt, and when
    fallback     is this failure a reason to ask another upstream
    balance      who of a pool is asked first
    throttle     whom an upstream has told to wait
    rate         how often somebody may call
    budget       retries are a share of requests, or they become the outage
    deadline     one point in time for the whole request, and whose fault its passing is
    window       how many, lately: what breaker and budget count with
"""
