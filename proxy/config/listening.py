"""Where callers come in, and what is shown in TLS on either side.

The keys of `listen`, `admin` and `tls`, as `schema` has the others: each once, complete and frozen.
"""

from typing import Annotated

from pydantic import Field

from proxy.config.settings import File, Flag, Host, Place, Port, Settings, StandIn, Token


class ListenerTls(Settings):
    """How callers of a listener are spoken to in TLS, 1.2 or newer. Files are PEM."""

    certificate: Annotated[File, StandIn("unknown")] = Field(
        description="Our certificate, followed by those that lead from it to its authority.",
        examples=["/etc/octollm/tls.crt"],
    )
    key: Annotated[File, StandIn("unknown")] = Field(
        description="Its private key, without a passphrase.", examples=["/etc/octollm/tls.key"]
    )
    client_ca: File | None = Field(
        None,
        description="Authorities of the callers: who shows no certificate of theirs is turned"
        " away in the handshake.",
        examples=["/etc/octollm/clients.crt"],
    )


class UpstreamTls(Settings):
    """What an upstream must show, and what we show it. Its certificate is always verified."""

    ca: File | None = Field(
        None,
        description="The authorities its certificate may come from, in place of the system's.",
        examples=["/etc/octollm/ca.crt"],
    )
    certificate: File | None = Field(
        None, description="A certificate of our own, for an upstream that asks for one."
    )
    key: File | None = Field(None, description="Its private key, without a passphrase.")
    server_name: Host | None = Field(
        None,
        description="The name its certificate must have, and that is sent as SNI; else the host of"
        " url.",
        examples=["api.openai.com"],
    )


class Listener(Settings):
    """An address we listen on."""

    host: Place = Field(
        "127.0.0.1",
        description="The address to listen on, or unix:/path for a socket file (mode 0660), which"
        " has no port.",
        examples=["127.0.0.1", "unix:/run/octollm/proxy.sock"],
    )
    port: Port = Field(0, description="The port; 0 lets the system choose.", examples=[6334])
    tls: ListenerTls | None = Field(None, description="Speak TLS to callers.")


class DataListener(Listener):
    """Where services call us."""

    port: Port = Field(8080, description="The port; 0 lets the system choose.")
    token: Token = Field(
        None, description="What callers must present; needed beyond loopback where auth adds a key."
    )
    reuse_port: Flag = Field(
        False,
        description="Let several processes listen on the data ports, the upstreams' own included;"
        " the kernel spreads callers over them.",
    )
    open: Flag = Field(
        False, description="Say that everyone who reaches it may use our keys, without a token."
    )


class AdminListener(Settings):
    """Where operators look and steer."""

    host: Host = Field("127.0.0.1", description="The address to listen on.")
    port: Port = Field(8081, description="The port; 0 lets the system choose.")
    token: Token = Field(
        None,
        description="What changes need beyond loopback; without it such a listener only reads.",
    )
