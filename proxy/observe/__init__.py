"""What the proxy tells about itself.

    catalogue   the metrics, as data: names, labels, and the closed sets their values come from
    counting    counts and times them, as plain numbers
    metrics     what Prometheus reads of that; the door to prometheus-client
    history     the last five minutes and the last failures, for who operates it
    tracing     spans of requests and attempts; the door to OpenTelemetry
    events      the log events and the only keys a line may carry, as data
    logs        tells them; the door to structlog and orjson
    sink        writes lines from a thread, so that a reader who stalls never stalls a call
    rejecting   one line a second where there would be thousands
    scrub       takes credentials out of text that others wrote

Nothing here decides anything about a call.
"""
