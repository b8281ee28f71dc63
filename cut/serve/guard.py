"""What is asked of every request before anything is done with it: where it comes from, and how large it is."""

import asyncio
import contextlib
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_LOCAL = ("localhost", "127.0.0.1", "::1")
# A refused body is read to its end, so that the answer is seen, but not for ever.
_MOST_DRAINED = 2**32
_PATIENCE_SECONDS, _LEAST_BYTES_PER_SECOND = 60.0, 1000.0  # what a body may take: so long, and as this rate allows
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; img-src 'self' blob: data:; style-src 'self'; "
    b"script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware.

    A page of another site that is open in the same browser can send requests here. Its own address stands in `Origin`;
    where its name was made to point to this machine (DNS rebinding), it stands in `Host`. Both are refused.

    Args:
        app: What answers the requests that are let through.
        host: Address that is listened on.
        most_bytes: Largest body.
        most_waiting: Number of uploads that may be there besides the one that is worked on.
    """

    def __init__(self, app: Any, host: str, most_bytes: int, most_waiting: int):
        self.app, self.most_bytes, self.most_waiting = app, most_bytes, most_waiting
        self._uploads = 0
        self.hosts = {*_LOCAL, host} if is_loopback(host) else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                own = [(name, value) for name, value in _HEADERS.items() if name not in names]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(headers)
        is_upload = scope["method"] == "POST"
        if refused is None and is_upload and self._uploads > self.most_waiting:
            refused = 503, f"busy: {self._uploads} translations are asked for already; try again later"
        if refused is None:
            self._uploads += is_upload
            try:
                await self.app(scope, self._limited(receive), send_with_headers)
            finally:
                self._uploads -= is_upload
            return
        if "expect" not in headers:  # else the body is not sent yet
            await drain(_in_time(receive))
        status, text = refused
        own = [(b"content-type", b"application/json"), *([(b"retry-after", b"5")] if status == 503 else [])]
        await send_with_headers({"type": "http.response.start", "status": status, "headers": own})
        await send({"type": "http.response.body", "body": json.dumps({"error": text}).encode()})

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and words for what is not let through."""
        host = headers.get("host", "")
        if self.hosts is not None and _name(f"//{host}") not in self.hosts:
            return 403, "Host: this page is for this machine alone; open it as http://127.0.0.1"
        origin = headers.get("origin")
        if origin is not None and _host_and_port(origin) != host.lower():
            return 403, "Origin: a page of another site asks; only this page may"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.most_bytes:
            return 413, self._too_large()
        return None

    def _too_large(self) -> str:
        return f"more than {self.most_bytes / 1e6:g} MB, the bound of --max-upload-mb; send a smaller file"

    def _limited(self, receive: Receive) -> Receive:
        """`receive` that counts, because a body need not say how long it is, nor ever end."""
        count, receive = 0, _in_time(receive)

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > self.most_bytes:
                if message.get("more_body"):
                    await drain(receive)
                raise HTTPException(413, self._too_large())
            return message

        return counted


async def drain(receive: Receive) -> None:
    """Reads a body to its end and keeps nothing of it."""
    count, more = 0, True
    with contextlib.suppress(HTTPException):  # too slow: the answer will not be waited for
        while more and count < _MOST_DRAINED:
            message = await receive()
            count += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)


def _in_time(receive: Receive) -> Receive:
    """`receive` that gives up on a body that does not come: whoever has gone without a word would keep a place."""
    begun, count, is_whole = time.monotonic(), 0, False

    async def patient() -> Message:
        nonlocal count, is_whole
        if is_whole:
            return await receive()
        left = begun + _PATIENCE_SECONDS + count / _LEAST_BYTES_PER_SECOND - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(left, 0.0))
        except asyncio.TimeoutError:
            raise HTTPException(408, "the request comes too slowly; send it again", {"Connection": "close"}) from None
        count += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        return message

    return patient


def _name(address: str) -> str | None:
    """The host's name in an address, without port and brackets; None where it is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _host_and_port(origin: str) -> str | None:
    """Host and port of an origin; None of `null` and nonsense."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
