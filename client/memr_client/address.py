"""The address of a service: checked, shown without its password, and the proxy on the way to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.request import getproxies

import httpx

from memr_client.errors import InvalidRequest

ROUTES = ("/reward", "/runs", "/openrlhf", "/presets", "/version", "/readyz", "/livez", "/metrics", "/docs")
"""Routes that people copy into the address."""
EXAMPLE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Proxy:
    """The proxy between the client and the service."""

    url: str
    """Its address, with its password."""
    source: str
    """The setting it comes from, for example `HTTP_PROXY`."""

    def __str__(self) -> str:
        return f"the proxy {_shown(self.url)} ({self.source})"

    def __repr__(self) -> str:
        return f"<{self}>"


def checked_url(url: str) -> str:
    """The address without spaces around it and without slashes at its end.

    Raises:
        InvalidRequest: it is no address of a service.
    """
    if not isinstance(url, str):
        raise _refused(f"the service's url is a text such as {EXAMPLE!r}, not a value of type {type(url).__name__}.")
    address = url.strip()
    shown = _shown(address)
    if not re.match(r"https?://", address, re.IGNORECASE):
        guess = re.sub(r"^(\w+:)?/*(?=\D|\d+\.)", "", shown)
        remedy = f"Did you mean {'http://' + guess!r}?" if guess and "://" not in guess else None
        raise _refused(f"the service's url must start with http:// or https://, not {shown!r}.", shown, remedy)
    try:
        parsed = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise _refused(f"the service's url {shown!r} is not valid: {error}.", shown) from None
    if not parsed.host:
        raise _refused(f"the service's url {shown!r} names no host.", shown)
    if not _is_port(parsed):
        raise _refused(f"the service's url {shown!r} has port {parsed.port}, but ports are 1 to 65535.", shown)
    if parsed.query or parsed.fragment or re.search(r"\s", address):
        raise _refused(f"the service's url {shown!r} must end after its path.", shown)
    path = parsed.path.rstrip("/")
    for route in ROUTES:
        if (found := re.search(rf"{route}(/.*)?$", path)) is not None:
            base = shown.rstrip("/")[: -len(found.group())]
            remedy = f"Pass {base!r}; the client adds the routes."
            raise _refused(f"the url {shown!r} names the route {found.group()}, not the service.", shown, remedy)
    return address.rstrip("/")


def without_password(url: str) -> str:
    """An address as messages may show it: `user:password@` becomes `user:***@`. Works on any text with an address."""
    return re.sub(r"(?<=//)([^/@:\s]*):[^/\s]*@", r"\1:***@", url)


def _shown(address: str) -> str:
    """An address without its password, also where that has characters that it should not have."""
    return re.sub(r"(?<=//)([^/@:\s]*):.*@", r"\1:***@", address, flags=re.DOTALL)


def proxy_for(url: str) -> Proxy | None:
    """The proxy that the environment names for an address; None for a direct connection.

    Loopback is always direct. `NO_PROXY` may list hosts (with all that end in them), host:port, addresses, ranges of
    addresses (10.0.0.0/8, fd00::/8) and `*`. On macOS and Windows the system's settings count where no variable is set.

    Raises:
        InvalidRequest: the proxy's address is not valid, or its kind needs a package that is missing.
    """
    target = httpx.URL(url)
    proxies = {scheme: address.strip() for scheme, address in getproxies().items()}
    scheme = next((name for name in (target.scheme, "all") if proxies.get(name)), None)
    if scheme is None or _is_loopback(target.host) or _is_exempt(target, proxies.get("no", "").split(",")):
        return None
    address = proxies[scheme]
    source = next((name for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") if os.environ.get(name)), "system")
    proxy = Proxy(address if "://" in address else f"http://{address}", source)
    _check(proxy, target)
    return proxy


def _check(proxy: Proxy, target: httpx.URL) -> None:
    remedy = f"Correct {proxy.source}, or add {target.host} to NO_PROXY for a direct connection."
    try:
        kind = httpx.Proxy(proxy.url).url
        usable = bool(kind.host) and _is_port(kind) and re.search(r"\s", proxy.url) is None
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise InvalidRequest(
            f"{proxy} is not the address of a proxy.", limit="http://, https:// or socks5:// and a host", remedy=remedy
        )
    # httpx finds out late, and its error names no proxy.
    if kind.scheme in ("socks5", "socks5h") and find_spec("socksio") is None:
        raise InvalidRequest(
            f"{proxy} is a SOCKS proxy, which needs the package socksio.",
            remedy=f"pip install 'httpx[socks]'. {remedy}",
        )


def _is_port(url: httpx.URL) -> bool:
    return url.port is None or 0 < url.port < 2**16


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _ip(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_exempt(target: httpx.URL, entries: Iterable[str]) -> bool:
    """Whether an entry of NO_PROXY covers the host. Entries that cannot be read cover nothing."""
    port = target.port or {"http": 80, "https": 443}[target.scheme]
    return any(_covers(entry.strip().lower(), target.host, port) for entry in entries)


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if (address := _ip(host)) is not None:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            pass  # it has a port, or is a host's name
    name, colon, last = entry.rpartition(":")
    if colon and last.isdecimal():
        if int(last) != port:
            return False
        entry = name
    if address is not None:
        return _ip(entry.strip("[]")) == address
    entry = entry.removeprefix("*").removeprefix(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _refused(detail: str, value: str | None = None, remedy: str | None = None) -> InvalidRequest:
    return InvalidRequest(
        detail, value=value, limit="the address of a service", remedy=remedy or f"Pass an address such as {EXAMPLE!r}."
    )
