"""The story of one request: where it goes, what may be done for it, and what its caller is told.

    forward       where a request goes, under which policies, and the last rescue
    destination   who can serve what was asked for: an upstream and its fallbacks, or a pool
    turns         one target after the other, until one answers
    errand        the story at one upstream: attempts, and the waits between them
    attempt       a request sent once, and its answer seen through
    race          two attempts at once, of which one may answer (hedging)
    relay         an answer on its way to the caller
    streaming     an event stream on its way to the caller; dialects says how each provider's looks
    refusal       what a caller is told when there is no good answer
    batch         many requests in one; items reads them, collected keeps their answers
    caching       a request that is answered from the cache, or through it
    screen        a request's body held against the guard
    places        how many calls an upstream serves at a time, and the line of those that wait
    routing       which name, which path there
    credentials   whose key goes out, and who may ask at all
    answers       what an upstream's error says
    coding        compressed error bodies
    call          what is known of one request while it is served, and told of it afterwards
    upstream      one configured upstream, alive: connections, breaker, budget, limits, policies
    runtime       a whole config, alive

Nothing here knows a socket or a parser; HTTP is what `wire.message` shows of it.
"""
