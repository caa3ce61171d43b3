"""An image from a URL that anyone may have sent: fetched from public servers, and from nowhere else.

Whoever names a URL must not reach with it what only this machine can reach (OWASP, "Server Side Request Forgery
Prevention Cheat Sheet"). So a name is resolved once, all of its addresses are checked, and the connection goes to an
address that was checked, not to the name: a second resolution could answer otherwise. A redirect is a new URL.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin, urlsplit

from classifier.errors import ImageTooLarge, InputForbidden, UrlUnavailable, UserError
from classifier.sockets import TimedReader

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], list[str]]
Connect = Callable[[tuple[str, int], float], socket.socket]

PORT = 443
SECONDS = 10.0
"""For everything: resolving, connecting, redirects, and the last byte."""

_REDIRECTS = 3
_LONGEST_URL = 2048
_MOVED = frozenset({301, 302, 303, 307, 308})
_PIECE = 65_536

# After IDNA. An underscore is no host's, but some CDNs' names have one.
_NAME = re.compile(
    r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?"
)
# What inet_aton(3) takes for an address ends in such a part: 2130706433, 0x7f.1, 127.1, 0177.0.0.1.
_NUMBER_AT_THE_END = re.compile(r"(^|\.)(\d+|0x[0-9a-f]*)\.?$")

# Global unicast (IANA, "IPv6 Global Unicast Address Assignments"), without the ranges that carry an IPv4 address of
# their own choosing: Teredo (RFC 4380) and 6to4 (RFC 3056).
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_TUNNELS = (ipaddress.ip_network("2001::/32"), ipaddress.ip_network("2002::/16"))
# IPv4 behind a translator (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class UrlFetcher:
    """Fetches images.

    Args:
        max_bytes: larger files are refused.
        seconds: for one image, whatever the servers do.
        resolve: a host name's addresses.
        connect: opens a connection to an address and port, within seconds.
        tls: verifies servers; by default against the system's certificate authorities.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        seconds: float = SECONDS,
        resolve: Resolve | None = None,
        connect: Connect = socket.create_connection,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolve = resolve or _resolve
        self._connect = connect
        self._tls = tls
        self._resolver = ThreadPoolExecutor(4, thread_name_prefix="resolve")

    def fetch(self, url: str, time_left: float) -> bytes:
        """The content of a URL, whatever it is.

        Args:
            time_left: seconds that there are at most.

        Raises:
            UserError: it is no https URL.
            InputForbidden: it leads to another port or to an address that is not public.
            ImageTooLarge
            UrlUnavailable: the server does not answer in time, or not with a file.
        """
        deadline = time.monotonic() + min(self._seconds, time_left)
        for _ in range(1 + _REDIRECTS):
            host, target = parse(url)
            answer = self._get(host, target, deadline)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        raise UrlUnavailable(f"more than {_REDIRECTS} redirects")

    def _get(self, host: str, target: str, deadline: float) -> bytes | str:
        """The body, or where it has moved to."""
        addresses = self._public_addresses(host, deadline)
        connected = self._open(host, addresses, deadline)
        connection = http.client.HTTPConnection(host, PORT)
        connection.default_port = PORT  # the Host header then names no port
        connection.sock = _TimedSocket(connected, deadline)
        try:
            headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Bucketlens"}
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if response.status in _MOVED:
                location = response.headers.get("Location")
                if not location:
                    raise UrlUnavailable(f"{host} answered {response.status} without a Location")
                return location
            if response.status != 200:
                raise UrlUnavailable(f"{host} answered {response.status}")
            return self._body(host, response)
        except (OSError, http.client.HTTPException) as error:
            raise UrlUnavailable(f"{host} broke off: {_reason(error)}") from error
        finally:
            connected.close()

    def _body(self, host: str, response: http.client.HTTPResponse) -> bytes:
        stated = response.length
        if stated is not None and stated > self._max_bytes:
            raise ImageTooLarge(f"{stated:,} bytes, over the limit of {self._max_bytes:,}")
        body = response.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise ImageTooLarge(f"over the limit of {self._max_bytes:,} bytes")
        if stated is not None and len(body) < stated:
            raise UrlUnavailable(f"{host} broke off after {len(body):,} of {stated:,} bytes")
        return body

    def _public_addresses(self, host: str, deadline: float) -> list[str]:
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            try:
                # getaddrinfo(3) has no timeout of its own.
                found = self._resolver.submit(self._resolve, host).result(max(0.0, deadline - time.monotonic()))
            except (OSError, UnicodeError) as error:
                raise UrlUnavailable(f"{host} cannot be resolved: {_reason(error)}") from error
        if not found:
            raise UrlUnavailable(f"{host} has no address")
        # One that is not public speaks against them all: which one a client takes is chance.
        if not all(map(is_public, found)):
            raise InputForbidden(f"{host} is not, or not only, at a public address")
        return found

    def _open(self, host: str, addresses: list[str], deadline: float) -> ssl.SSLSocket:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        failed: OSError = TimeoutError("the time is up")
        for address in addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                plain = self._connect((address, PORT), left)
            except OSError as error:
                failed = error
                continue
            try:
                # The name, not the address: it is what the certificate must be for.
                plain.settimeout(max(0.001, deadline - time.monotonic()))
                return self._tls.wrap_socket(plain, server_hostname=host)
            except OSError as error:
                plain.close()
                failed = error
        raise UrlUnavailable(f"cannot connect to {host}: {_reason(failed)}") from failed


def parse(url: str) -> tuple[str, str]:
    """Host, in the form in which it is resolved, and target of a URL.

    Raises:
        UserError: it is no URL, or not an https one.
        InputForbidden: it has credentials or another port, or its host is a number that only some take for an address.
    """
    if len(url) > _LONGEST_URL:
        raise UserError(f"the URL has {len(url):,} characters, over the limit of {_LONGEST_URL:,}")
    # urlsplit drops some of these, others do not: two readings of one URL.
    if not url.isascii() or not url.isprintable() or set(url) & set(' "<>\\^`{|}'):
        raise UserError("the URL has characters that must be percent-encoded, or in the host's case in Punycode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError(f"the URL cannot be read: {error}") from None
    if parts.scheme != "https":
        raise UserError(f"the URL begins with {parts.scheme or 'nothing'}:; only https: is fetched")
    if "@" in parts.netloc:
        raise InputForbidden("URLs with a user name or password are not fetched")
    if port not in (None, PORT):
        raise InputForbidden(f"port {port} is not asked; only {PORT}")
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    return _host(parts.hostname or "", bracketed="[" in parts.netloc), target


def _host(host: str, *, bracketed: bool) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _NUMBER_AT_THE_END.search(host):
            raise InputForbidden(f"the URL's host {host!r} is not the usual form of an address") from None
        if bracketed or not _NAME.fullmatch(host):
            raise UserError(f"the URL's host {host!r} is neither a name with a dot nor an address") from None
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise InputForbidden(f"the URL's host {host!r} is an address of one network only")
    return str(address)


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where IPv6 carries an IPv4 address."""
    try:
        ip: Any = ipaddress.ip_address(address)
    except ValueError:  # with a zone, or not an address at all
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        elif ip not in _GLOBAL_UNICAST or any(ip in tunnel for tunnel in _TUNNELS):
            return False
    return bool(ip.is_global and not ip.is_multicast and not ip.is_reserved)


class _TimedSocket:
    """What :mod:`http.client` uses of a socket; reads from it until the deadline."""

    def __init__(self, connected: ssl.SSLSocket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connected.settimeout(max(0.001, self._deadline - time.monotonic()))
        self._connected.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        reader = TimedReader(self._connected)
        reader.allow(self._deadline - time.monotonic())
        return io.BufferedReader(reader, _PIECE)

    def close(self) -> None:
        """Whoever opened the socket closes it: the answer is still read from it when the connection is done with it."""


def _resolve(host: str) -> list[str]:
    found = socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
