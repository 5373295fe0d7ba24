"""Trying again: how long a caller is patient, and what to say of a server that cannot be reached."""

from __future__ import annotations

import math
import random
import ssl
import time
from urllib.parse import urlsplit

import httpx

from daemon.client.answers import ClientError
from daemon.client.connections import proxy_variable

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")  # what OpenSSL calls an answer in plain HTTP, 3.0 and 3.5
_PAUSE_S = (0.2, 10.0)


class Tries:
    """Pauses between tries, ever longer, until patience is over, and never beyond `until_s` (monotonic)."""

    def __init__(self, patience_s: float, until_s: float = math.inf) -> None:
        self._patience_s = patience_s
        self._until_s = until_s
        self.count = 0
        self.worked()

    def worked(self) -> None:
        self._pause_s = _PAUSE_S[0]
        self.heard()

    def heard(self) -> None:
        """The server answers, but not with what was asked for. Patience begins anew, and pauses stay as long as they
        were."""
        self._give_up_s = time.monotonic() + self._patience_s

    def again(self, error: ClientError, wanted_s: float | None = None) -> None:
        """Wait a while, or raise `error`."""
        self.count += 1
        pause_s = (wanted_s or self._pause_s) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if time.monotonic() + pause_s > self._give_up_s:
            raise error
        time.sleep(max(min(pause_s, self._until_s - time.monotonic()), 0))
        self._pause_s = min(self._pause_s * 2, _PAUSE_S[1], max(self._patience_s / 2, _PAUSE_S[0]))


def unreachable(url: str, error: httpx.TransportError) -> ClientError:
    """`error` of a request to `url`, as an error after which to wait and try again. Raises it where no patience
    helps."""
    text = f"cannot reach {url}: {error or type(error).__name__}"
    refused = _refused_by_tls(error)
    if isinstance(refused, ssl.SSLCertVerificationError):
        raise ClientError(text, hint="SSL_CERT_FILE names a file with the certificates to trust") from error
    if refused is not None and refused.reason in _NO_TLS:
        raise ClientError(text, hint=f"it speaks no TLS: try http://{urlsplit(url).netloc}") from error
    if (variable := proxy_variable(url)) is not None:
        host = urlsplit(url).hostname
        return ClientError(text, hint=f"it was asked for through the proxy in {variable}; NO_PROXY={host} goes past it")
    return ClientError(text, hint="is it running? type: evald serve   (or set EVALD_URL)")


def _refused_by_tls(error: BaseException | None) -> ssl.SSLError | None:
    """What TLS itself says, however the client wraps it."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
