"""The connections of a client to its server: a set of them for each process, and to this machine past every proxy."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from daemon.addresses import is_loopback

_ONE_EACH = httpx.Limits(max_connections=None)  # every thread that waits holds one


class Connections:
    """Connections to one server. Safe to share between threads and with forked processes, each of which has a set of
    its own: a fork that went on with its parent's connections could take another kernel's result for its own."""

    def __init__(self, url: str, headers: dict[str, str], answer_s: float) -> None:
        self._url = url
        self._headers = headers
        self._answer_s = answer_s
        self._opened = os.getpid(), self._open()

    def of_this_process(self) -> httpx.Client:
        """Those to use now."""
        process, http = self._opened
        if process != os.getpid():
            http = self._open()
            self._opened = os.getpid(), http
        return http

    def close(self) -> None:
        """Drop those of this process."""
        process, http = self._opened
        if process == os.getpid():
            http.close()

    def _open(self) -> httpx.Client:
        # A transport of our own is one that no HTTP_PROXY changes.
        transport = httpx.HTTPTransport(limits=_ONE_EACH) if is_here(self._url) else None
        return httpx.Client(
            base_url=self._url, headers=self._headers, timeout=self._answer_s, limits=_ONE_EACH, transport=transport
        )


def is_here(url: str) -> bool:
    """Whether this is an address of the machine itself."""
    return is_loopback(urlsplit(url).hostname or "")


def proxy_variable(url: str) -> str | None:
    """The environment variable that names the proxy for `url`. None: there is none."""
    parsed = urlsplit(url)
    if is_here(url) or proxy_bypass(parsed.hostname or ""):
        return None
    return next((f"{kind.upper()}_PROXY" for kind in (parsed.scheme, "all") if kind in getproxies()), None)
