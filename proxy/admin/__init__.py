"""What operators read and do, on a listener of its own; the door to aiohttp.web.

    guard     who may change something; pure
    server    the listener and its pages

Nothing here is on the path of a call, and no answer here depends on an upstream.
"""
