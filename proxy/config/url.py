"""Where an upstream is: scheme, host, port and base path, and nothing a request could change.

Nothing here looks up a name or opens a connection. No message holds the text: people put passwords
into URLs.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?\.?", re.ASCII)
# RFC 3986 3.3: what a path may hold; a backslash, a space or a control character it may not.
_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@%]*)*", re.ASCII)
_UNIX = "unix:"
_SOCKET_PATH = 107
"""Bytes that the kernel takes for the path of a socket (unix(7)), without its final NUL."""


@dataclass(frozen=True, slots=True)
class Url:
    """An origin and a base path; *path* is `""` or begins, and never ends, with a slash."""

    scheme: Literal["http", "https", "unix"]
    host: str
    """As DNS and TLS want it: without brackets around an IPv6 address. The path of a Unix socket,
    on which plain HTTP is spoken."""
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What goes into Host: the port only where it is not the scheme's own."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority: the part that decides who is called."""
        if self.scheme == "unix":
            return _UNIX + self.host
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.path


def url(value: object) -> Url:
    """Read `https://host[:port][/base/path]` or `unix:/path`; ValueError says what else it is."""
    if isinstance(value, Url):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a URL (write https://host or http://host:port/base)")  # noqa: TRY004 -- pydantic collects ValueErrors
    if value.startswith(_UNIX):
        return Url("unix", _socket_path(value), 0, "")
    if "?" in value or "#" in value:
        raise ValueError("holds a query or fragment (the caller's request brings its own)")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL (its host or port cannot be read)") from None
    if parts.scheme not in _PORTS or not value.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("is not an http:// or https:// URL")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password (put credentials into auth)")
    if port == 0:
        raise ValueError("has port 0, which cannot be called")
    if not is_path(parts.path) or parts.path.split("/") != [
        step for step in parts.path.split("/") if step not in {".", ".."}
    ]:
        raise ValueError("has a path that is not a plain one (percent-encode what is special)")
    scheme = cast("Literal['http', 'https']", parts.scheme)
    host = _host(parts.hostname or "", bracketed="[" in parts.netloc)
    return Url(scheme, host, port or _PORTS[scheme], parts.path.rstrip("/"))


def is_path(text: str) -> bool:
    """Tell whether *text* can stand as a path, byte for byte, in a request line."""
    return _PATH.fullmatch(text) is not None


def is_host(text: str) -> bool:
    """Tell whether *text* is a host name or an IP address, without brackets and zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text.lower()) is not None
    return "%" not in text


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches *host*; a name other than localhost is not sure to."""
    if host.startswith(_UNIX):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_socket(text: str) -> bool:
    """Tell whether *text* is `unix:` and the path of a socket."""
    try:
        return text.startswith(_UNIX) and bool(_socket_path(text))
    except ValueError:
        return False


def _socket_path(text: str) -> str:
    path = text.removeprefix(_UNIX)
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise ValueError("is not the path of a Unix socket (write unix:/run/name.sock)")
    if len(path.encode()) > _SOCKET_PATH:
        raise ValueError(f"is longer than the path of a Unix socket can be ({_SOCKET_PATH} bytes)")
    return path


def _host(host: str, *, bracketed: bool) -> str:
    if not is_host(host):
        raise ValueError("has no host that can be called (write a non-ASCII name as xn--…)")
    if not bracketed:
        return host
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise ValueError("has brackets around what is not an IPv6 address") from None
