"""What a config file will do, before it does it: `octollm-proxy explain`.

    report      everything that is told, as data
    values      each effective value, and where it came from
    retrying    what one call can turn into
    succession  who is asked when one cannot answer: fallbacks and pools
    guarding    limits, answers that are kept, and the guard
    outage      when the circuit opens
    caution     what works otherwise than somebody might think
    drawing     all of it as text, 80 columns wide

The delays are the retry policy's own, the openings the breaker's own: nothing is worked out twice.
No secret is read here, but for the names of the headers that carry one.
"""
