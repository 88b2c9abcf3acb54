"""HTTP as bytes: what callers send us, what we send upstreams, and the way back.

message   the seam: all that the gateway sees of HTTP
parser    the door to aiohttp's C parsers
framing   where a message begins and ends, and which heads are refused
headers   what of a head travels on
body      a request body kept for a second attempt
server    listeners; roster: who is connected; caller: a connection; upload, reply: what is on it
client    exchanges with one origin; answer: one of them; pool, connect, origin: connections
cause     why a connection failed, in words that quote nobody
tunnel    two connections joined, when a WebSocket's handshake is done
flow, alarm   what all connections have: a socket that stops, one timer
"""
