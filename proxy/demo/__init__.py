"""The proxy at work, for somebody who has ten seconds: `octollm-proxy demo`.

`scenes`   what goes wrong at the upstreams, and when
`traffic`  callers who want something all the time
`story`    the proxy's log, as counts and as sentences
`picture`  the story as lines of text, for a terminal or a pipe
`stage`    all of it together; begin there

Everything shown comes from the proxy's own log and breakers, as an operator would get it. The one
file that is not code, `demo.yaml`, is config/demo.yaml.
"""
