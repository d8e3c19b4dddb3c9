"""A video behind ``http(s)://``: version and download, with redirects checked hop by hop. No proxy, no cookies."""

import base64
import http.client
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import NoReturn
from urllib.parse import quote, unquote, urljoin, urlsplit

from pipeline.failures import FailureClass, PipelineError
from pipeline.uris import strip_secrets
from pipeline.video.http_connection import AddressCheck, VettedConnection, is_public_address
from pipeline.video.remote import LOCAL_DISK_ERRNOS, ObjectVersion, Patience, check_size

_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 1 << 20
_PORTS = {"http": 80, "https": 443}
_QUOTE_SAFE = "/%:@!$&'()*+,;=~?"
_STATUS_CLASSES = {
    401: FailureClass.ACCESS_DENIED,
    403: FailureClass.ACCESS_DENIED,
    404: FailureClass.NOT_FOUND,
    410: FailureClass.NOT_FOUND,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpVideo:
    """One address; each call asks the server anew.

    Attributes:
        uri: user info becomes basic authentication, which only this host ever sees.
        is_allowed_address: judges each numeric address before it is connected to; tests allow localhost.
        patience: with the server.
    """

    uri: str
    is_allowed_address: AddressCheck = is_public_address
    patience: Patience = field(default_factory=Patience)

    def look_up(self) -> ObjectVersion:
        """Size, and ETag or ``Last-Modified``, by HEAD; where a server refuses HEAD, by a GET that reads no body.

        Raises:
            PipelineError: ``NOT_FOUND`` (404, 410), ``ACCESS_DENIED`` (401, 403, an address that is not allowed),
                ``UNSUPPORTED_MEDIA`` (no usable address), ``TRANSFER`` (other statuses, network trouble).
        """
        with self._request("HEAD") as response:
            if response.status == http.client.OK:
                return _version_of(response)
        with self._request("GET") as response:
            self._check_status(response)
            return _version_of(response)

    def download(self, path: str, *, max_bytes: int) -> None:
        """Write the body to ``path``.

        Raises:
            PipelineError: as ``look_up``; ``TOO_LARGE`` as soon as more than ``max_bytes`` are announced or arrive,
                ``TRANSFER`` when the body is cut off.
        """
        shown_uri, num_bytes = strip_secrets(self.uri), 0
        with self._request("GET") as response, open(path, "wb") as file:
            self._check_status(response)
            check_size(shown_uri, _version_of(response).size_bytes, max_file_bytes=max_bytes)
            while chunk := response.read1(_CHUNK_BYTES):
                num_bytes += len(chunk)
                check_size(shown_uri, num_bytes, max_file_bytes=max_bytes)
                file.write(chunk)
            if response.length:  # what was announced and did not come
                raise http.client.IncompleteRead(b"", response.length)

    @contextmanager
    def _request(self, method: str) -> Iterator[http.client.HTTPResponse]:
        """The answer after all redirects; network trouble is typed, also while the caller reads the body."""
        hop = self._first_hop()
        with self._typed_errors(), ExitStack() as opened:
            for _ in range(_MAX_REDIRECTS + 1):
                connection = self._connection(hop)
                opened.callback(connection.close)
                connection.request(method, hop.path, headers=hop.headers())
                response = opened.enter_context(connection.getresponse())
                location = response.getheader("Location") if response.status in _REDIRECT_STATUSES else None
                if location is None:
                    yield response
                    return
                hop = self._follow(hop, location)
            self._fail(FailureClass.TRANSFER, f"is redirected more than {_MAX_REDIRECTS} times; name its last address")

    def _connection(self, hop: "_Hop") -> VettedConnection:
        return VettedConnection(
            strip_secrets(self.uri),
            hop.host,
            hop.port,
            context=ssl.create_default_context() if hop.scheme == "https" else None,
            is_allowed_address=self.is_allowed_address,
            patience=self.patience,
        )

    def _first_hop(self) -> "_Hop":
        try:
            return _parse_hop(self.uri)
        except ValueError as error:
            self._fail(FailureClass.UNSUPPORTED_MEDIA, f"is no usable address ({error}); write http(s)://host/path")

    def _follow(self, hop: "_Hop", location: str) -> "_Hop":
        """The next hop, without credentials unless it is the same server."""
        shown = strip_secrets(location).partition("?")[0]
        try:
            following = _parse_hop(urljoin(hop.url, location))
        except ValueError:
            self._fail(FailureClass.ACCESS_DENIED, f"redirects to {shown}, which is no http(s) address")
        if (hop.scheme, following.scheme) == ("https", "http"):
            self._fail(FailureClass.ACCESS_DENIED, f"redirects from https to http ({shown}); name the https address")
        return replace(following, credentials=hop.credentials if following.server == hop.server else None)

    def _check_status(self, response: http.client.HTTPResponse) -> None:
        if response.status != http.client.OK:
            failure_class = _STATUS_CLASSES.get(response.status, FailureClass.TRANSFER)
            self._fail(failure_class, f"was answered with status {response.status}; open the address in a browser")

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno in LOCAL_DISK_ERRNOS:
                raise
            reason = f"could not be fetched ({type(error).__name__}); it is tried again"
            raise PipelineError(FailureClass.TRANSFER, f"{strip_secrets(self.uri)} {reason}.") from error

    def _fail(self, failure_class: FailureClass, finding: str) -> NoReturn:
        raise PipelineError(failure_class, f"{strip_secrets(self.uri)} {finding}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hop:
    """One address on the way; ``path`` includes the query string."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    credentials: str | None

    @property
    def server(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def headers(self) -> dict[str, str]:
        fixed = {"User-Agent": "adapttoken-ray", "Accept": "*/*", "Connection": "close"}
        return fixed if self.credentials is None else fixed | {"Authorization": f"Basic {self.credentials}"}


def _parse_hop(url: str) -> _Hop:
    """Take an address apart.

    Raises:
        ValueError: another scheme, no usable host or port.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"scheme {parts.scheme!r}, host {parts.hostname!r}")
    credentials = None
    if parts.username is not None:
        plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = base64.b64encode(plain.encode()).decode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Hop(
        url=url,
        scheme=parts.scheme,
        host=parts.hostname.encode("idna").decode(),
        port=parts.port or _PORTS[parts.scheme],
        path=quote(path, safe=_QUOTE_SAFE),
        credentials=credentials,
    )


def _version_of(response: http.client.HTTPResponse) -> ObjectVersion:
    size = response.getheader("Content-Length", "")
    is_whole = response.getheader("Transfer-Encoding") is None and size.isdecimal() and len(size) < 19
    version = response.getheader("ETag") or response.getheader("Last-Modified")
    return ObjectVersion(size_bytes=int(size) if is_whole else None, version=version)
