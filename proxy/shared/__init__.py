"""What replicas tell each other: that an upstream has failed them, and that it is back.

    Upstream._tell ──> Sharing.tell            Sharing._listen ──> Breaker.hear_open, hear_closed
                          │ (a note)                  ▲
                          ▼                           │
                       Sharing._speak ──> redis.Link ─┴─> Redis

What is heard may move a circuit, and that is the breaker's to decide. Nothing on the path of a
request waits for any of this: docs/replicas.md.
"""
