"""`SameOrigin`: refuses what pages of other sites send to this server through a visitor's browser.

A browser sends a page's requests to any address that the visitor can reach, loopback included, and says in `Origin`
which page it was, and in `Host` by which name it was asked. The content type that a body needs is the third part
(`memr_service.app.body`): a page cannot send these types elsewhere without asking first, which is never granted.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from memr_client.errors import Forbidden
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from memr_service.settings import Settings

READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing. A browser sends `Origin` with all others."""
LOCAL = ("localhost", "local", "internal")
"""Endings of names that nobody can register."""


class SameOrigin:
    """ASGI middleware: checks the headers `Host` and `Origin` of every request."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.allowed = tuple(name.lower() for name in settings.allowed_hosts)
        # With keys any name will do, unless some are listed: a page of another site has no key.
        self.any_host = "*" in self.allowed or (settings.keys_file is not None and not self.allowed)
        self.own = {settings.host.lower(), _split(settings.address).hostname}
        if settings.insecure and not self.any_host:
            self.own |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on.

        Raises:
            Forbidden: the name in `Host` is not one of this server's, or the request comes from a page of another
                origin and could change something.
        """
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            self._check_host(headers.get("host"), scope.get("server"))
            if scope["method"] not in READING and (origin := headers.get("origin")) is not None:
                self._check_origin(origin, headers.get("host", ""))
        await self.app(scope, receive, send)

    def _check_host(self, host: str | None, server: tuple[str, int | None] | None) -> None:
        """Refuse a name that somebody else may have made to stand for this machine's address (DNS rebinding).

        Args:
            host: the header; None in HTTP/1.0, which no browser sends.
            server: where the request arrived, as the server says.
        """
        if host is None or self.any_host:
            return
        name = _name(host)
        if name is None or not (self._is_own(name) or (server is not None and name == server[0])):
            raise Forbidden(
                f"This server does not answer to the name {host[:128]!r}.",
                value=host[:128],
                limit="addresses, localhost, names without a dot, and MEMR_ALLOWED_HOSTS",
                remedy="Use the server's address, or add the name to MEMR_ALLOWED_HOSTS on the server. Without API "
                "keys any other name could be a trick of a web page (DNS rebinding).",
            )

    def _check_origin(self, origin: str, host: str) -> None:
        """Refuse a page that does not come from this server."""
        page = _split(origin)
        same = page.netloc != "" and _without_default_port(page.netloc) == _without_default_port(host)
        if not same and not (page.hostname is not None and self._is_allowed(page.hostname)):
            raise Forbidden(
                f"This request comes from a web page of another origin, {origin[:128]!r}.",
                value=origin[:128],
                limit=f"pages of {host[:128]}" if host else "pages of this server",
                remedy="Send it from a program, without the header Origin. If a proxy changes the server's name, pass "
                "Host on unchanged, or add the page's name to MEMR_ALLOWED_HOSTS.",
            )

    def _is_own(self, name: str) -> bool:
        if name in self.own or self._is_allowed(name):
            return True
        name = name.removesuffix(".")
        return _is_address(name) or "." not in name or name.rpartition(".")[2] in LOCAL

    def _is_allowed(self, name: str) -> bool:
        """Whether the name, or with `.example.org` an ending of it, is in the settings' list."""
        return any(name == one or (one.startswith(".") and name.endswith(one)) for one in self.allowed)


@lru_cache(maxsize=256)
def _name(host: str) -> str | None:
    """The name or address in a header `Host`."""
    return _split(f"//{host}").hostname


def _split(url: str) -> SplitResult:
    """The parts of a URL; empty parts if it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _without_default_port(netloc: str) -> str:
    return netloc.lower().removesuffix(":80").removesuffix(":443")


@lru_cache(maxsize=256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
