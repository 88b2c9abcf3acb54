"""The story of one request: where it goes, what may be done for it, and what its caller is told.

    forward       where a request goes, under which policies, and the last rescue
    errand        the story at one upstream: attempts, until one is answered
    relay         an answer on its way to the caller
    refusal       what a caller is told when there is no good answer
    routing       which upstream, which path there, which policy
    credentials   whose key goes out, and who may ask at all
    answers       what an upstream's answer means in the standard's words
    waits         how long an upstream asks to be left alone, in all its forms
    coding        compressed error bodies
    call          what is known of one request while it is served, and told of it afterwards
    upstream      one configured upstream, alive: connections, breaker, budget, policies
    runtime       a whole config, alive

Nothing here knows a socket or a parser; HTTP is what `wire.message` shows of it.
"""
