"""What operators read and do, on a listener of its own; the door to aiohttp.web.

    guard     who may change something; pure
    server    the listener: metrics, health, and who answers what else
    view      what there is to see, as JSON
    masked    the config without its secrets
    steering  what an operator orders of a circuit
    api       view and steering over HTTP; `openapi` describes it
    live      the stream that the status page hears
    assets    the status page's files, which stand in page/

Nothing here is on the path of a call, and no answer here depends on an upstream.
"""
