"""What a tls block means to OpenSSL: a context for a listener, and one for an upstream.

Rule 1: an upstream's certificate is always verified, for its name; there is no switch for it.
Rule 2: nothing here connects or listens. Files are read once, when a context is made.
"""

import ssl

from proxy.config.listening import ListenerTls, UpstreamTls

_ALPN = ["http/1.1"]
"""All we speak: a peer that would rather have HTTP/2 is told so in the handshake."""


def of_listener(settings: ListenerTls) -> ssl.SSLContext:
    """Make what a listener speaks to its callers. Raises OSError where a file cannot be used."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    show(context, settings.certificate, settings.key)
    if settings.client_ca is not None:
        context.load_verify_locations(settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def of_upstream(settings: UpstreamTls | None) -> ssl.SSLContext:
    """Make what an https upstream is spoken to in. Raises OSError where a file cannot be used."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if settings is None or settings.ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(settings.ca)
    if settings is not None and settings.certificate is not None and settings.key is not None:
        show(context, settings.certificate, settings.key)
    return context


def files(settings: ListenerTls | UpstreamTls | None) -> tuple[str, ...]:
    """Name the files of a tls block."""
    if settings is None:
        return ()
    authorities = settings.client_ca if isinstance(settings, ListenerTls) else settings.ca
    return tuple(file for file in (settings.certificate, settings.key, authorities) if file)


def show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Let *context* show a certificate; a key with a passphrase is refused, and asks nobody."""
    context.load_cert_chain(certificate, key, password="")


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    return context
