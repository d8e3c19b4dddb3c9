"""Connections to public addresses only: the address that was checked is the one connected to, so DNS cannot cheat."""

import functools
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.remote import Patience

AddressCheck: TypeAlias = Callable[[str], bool]
_MAX_ADDRESSES_TRIED = 4
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PUBLIC_BY_NUMBER_ONLY = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.0/24",  # protocol assignments; Oracle's instance metadata
        "192.88.99.0/24",  # relays into 6to4
        "2001::/23",  # protocol assignments, Teredo
        "3fff::/20",  # documentation
    )
)


def is_public_address(address: str) -> bool:
    """Whether a numeric address lies on the public internet, also by the IPv4 address inside an IPv6 one.

    Example: ``8.8.8.8 -> True``, ``169.254.169.254 -> False``, ``::ffff:10.0.0.1 -> False``.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public_address(str(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)))
        if ip.ipv4_mapped is not None:
            return is_public_address(str(ip.ipv4_mapped))
        if ip.sixtofour is not None:  # 2002::/16 counts as private from Python 3.13 on
            return is_public_address(str(ip.sixtofour))
        if ip not in _GLOBAL_UNICAST:
            return False
    if any(ip in network for network in _PUBLIC_BY_NUMBER_ONLY):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class VettedConnection(http.client.HTTPConnection):
    """An HTTP(S) connection that refuses hosts with an address that is not allowed; it knows no proxies.

    Args:
        name: the video, for error messages.
        host: a name or a numeric address; certificates are checked against it.
        port: of the server.
        context: for TLS; None speaks plain HTTP.
        is_allowed_address: judges every address of the host.
        patience: with the server.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext | None,
        is_allowed_address: AddressCheck,
        patience: Patience,
    ) -> None:
        self.default_port = 443 if context else 80
        super().__init__(host, port, timeout=patience.silence_s)
        self._name, self._context = name, context
        self._is_allowed_address, self._silence_s = is_allowed_address, patience.silence_s
        self.response_class = functools.partial(_PacedResponse, patience=patience)  # type: ignore[assignment]

    def connect(self) -> None:
        """Connect to the first checked address that answers.

        Raises:
            PipelineError: ``ACCESS_DENIED``: some address of the host is not allowed.
            OSError: the host is unknown or does not answer, or its certificate is not valid.
        """
        sock = self._connect_to_allowed()
        if self._context is None:
            self.sock = sock
            return
        try:
            self.sock = self._context.wrap_socket(sock, server_hostname=self.host)
        except OSError:
            sock.close()
            raise

    def _connect_to_allowed(self) -> socket.socket:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for *_, address in found:
            if not self._is_allowed_address(str(address[0])):
                raise PipelineError(
                    FailureClass.ACCESS_DENIED,
                    f"{self._name}: the host {self.host} has the address {address[0]}; reading.allow_http reaches "
                    "public addresses only. Copy the video to s3:// or to a path.",
                )
        trouble = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in found[:_MAX_ADDRESSES_TRIED]:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(self._silence_s)
            try:
                sock.connect(address)
            except OSError as error:
                sock.close()
                trouble = error
            else:
                return sock
        raise trouble


class _PacedResponse(http.client.HTTPResponse):
    """A response, headers included, that must keep up an average speed."""

    def __init__(self, sock: socket.socket, *args: Any, patience: Patience, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_PacedReader(self.fp.detach(), patience), buffer_size=1 << 18)


class _PacedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, patience: Patience) -> None:
        super().__init__()
        self._raw, self._patience = raw, patience
        self._num_bytes, self._started = 0, time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        num_bytes: int | None = self._raw.readinto(buffer)
        self._num_bytes += num_bytes or 0
        elapsed_s = time.monotonic() - self._started
        if elapsed_s > self._patience.grace_s + self._num_bytes / self._patience.min_bytes_per_s:
            raise TimeoutError(f"{self._num_bytes} bytes in {elapsed_s:.0f} s")
        return num_bytes

    def close(self) -> None:
        self._raw.close()
        super().close()
