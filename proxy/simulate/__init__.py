"""An outage before it happens: `octollm-proxy simulate`, the real policies in virtual time.

`scenario`  what will happen: who calls, how fast the upstream is, and when it fails
`world`     chance: when callers come, and what each attempt meets
`wire`      the upstream, behind the seam that the gateway knows
`callers`   people's clients, with their patience and their own retries
`play`      all of it together, with the real gateway; begin there
`record`    what was seen while it played
`figures`   a record as numbers, alone or beside another
`chart`     the same for a terminal, and `page` for a browser

Only the wire and the callers are made up: every decision is taken by the code that `serve` runs.
The built-in scenarios are config/scenarios.
"""
