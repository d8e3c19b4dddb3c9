"""Who may ask: requests that this page made itself, addressed to a name that is ours, with the token where one is set.

A browser sends what any page in it asks for. So the name in ``Host`` is checked (a foreign name may be made to mean
this machine), and that the request does not come from another page.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LEAST_TOKEN_CHARS = 16
_OWN_SITES = ("same-origin", "none")
_LOCAL = "localhost"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """The middleware that stands before every handler.

    Attributes:
        token: that has to be known; None: whoever reaches the address may ask.
    """

    def __init__(self, *, host: str, token: str | None, allowed_hosts: Collection[str] = ()) -> None:
        """Refuse to be open to a network.

        Raises:
            ValueError: ``host`` is no loopback address and there is no token, or it is short.
        """
        self._is_loopback = is_loopback(host)
        if token is None and not self._is_loopback:
            raise ValueError(f"--host {host} can be reached by others: a token is needed")
        if token is not None and len(token) < LEAST_TOKEN_CHARS:
            raise ValueError(f"the token has {len(token)} characters, at least {LEAST_TOKEN_CHARS} are needed")
        self.token = token
        own = () if self._is_loopback else (socket.gethostname(), socket.getfqdn())
        self._names = {name.lower() for name in (_LOCAL, *own, *allowed_hosts)}

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let it pass, or say what is wrong with it."""
        refusal = self._refuse_name(request) or self._refuse_page(request)
        if refusal:
            return _say(403, refusal)
        if self.token is not None and not self._knows_token(request):
            given = request.query.get("token", "")
            if request.path == "/" and hmac.compare_digest(given.encode(), self.token.encode()):
                return self._welcome(request)
            return _say(401, "a token is needed: open the address that the server printed")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _refuse_name(self, request: web.Request) -> str | None:
        name = _name_of(request.headers.get("Host", ""))
        if name in self._names or _is_address(name, only_loopback=self._is_loopback):
            return None
        return f"this server is not called {name or 'nothing'!r}: --allow-host {name or 'NAME'} would say that it is"

    def _refuse_page(self, request: web.Request) -> str | None:
        """Only the way to the page itself may begin elsewhere."""
        site, origin = request.headers.get("Sec-Fetch-Site", "none"), request.headers.get("Origin")
        if site not in _OWN_SITES and not (request.path == "/" and request.method == "GET"):
            return "another page asked for this: only the server's own page may"
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
            return f"a page of {origin} asked for this: only the server's own page may"
        return None

    def _knows_token(self, request: web.Request) -> bool:
        assert self.token is not None
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        candidates = (request.cookies.get(_cookie_name(request), ""), given if kind.lower() == "bearer" else "")
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in candidates)

    def _welcome(self, request: web.Request) -> web.Response:
        """The token goes out of the address, where it would be seen, into a cookie, which no script reads."""
        assert self.token is not None
        response = web.Response(status=303, headers={"Location": "/", **_HEADERS})
        response.set_cookie(_cookie_name(request), self.token, httponly=True, samesite="Strict", path="/")
        return response


def make_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    return host == _LOCAL or _is_address(host.strip("[]"), only_loopback=True)


def _name_of(host: str) -> str:
    """``Example.org:8080 -> example.org``, ``[::1]:8080 -> ::1``."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str, *, only_loopback: bool) -> bool:
    """An address cannot be made to mean another machine, as a name can."""
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    return found.is_loopback or not only_loopback


def _cookie_name(request: web.Request) -> str:
    """Servers on other ports of the machine share its cookies."""
    return f"adapttoken-{urlsplit('//' + request.headers['Host']).port or 80}"


def _say(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=_HEADERS)
