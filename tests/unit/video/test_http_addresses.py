"""Which servers may be reached: by address, through redirects, with which credentials and certificates."""

import base64
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.failures import FailureClass
from pipeline.video.http_connection import is_public_address
from pipeline.video.http_source import HttpVideo
from tests.unit.video.local_http import BODY, LocalVideo, Server, download, fail, methods, redirect, reply


@pytest.fixture(scope="module")
def shared_server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server):
    shared_server.answers.clear()
    shared_server.requests.clear()
    shared_server.answers["/v.mp4"] = reply()
    return shared_server


@pytest.fixture
def other_server():
    server = Server()
    server.answers["/v.mp4"] = reply()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("2002:808:808::1", True),
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("192.88.99.1", False),
        ("2001::1", False),
        ("3fff::1", False),
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("ff0e::1", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address, is_public):
    assert is_public_address(address) is is_public


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:7f00:1]"]
)
def test_no_spelling_of_a_private_address_is_connected_to(server, host):
    failure_class, message = fail(HttpVideo(uri=f"http://{host}:{server.port}/v.mp4?sig=secret").look_up)
    assert failure_class is FailureClass.ACCESS_DENIED
    assert "public addresses only" in message
    assert "secret" not in message
    assert server.requests == []


def resolve_to(monkeypatch, *addresses):
    def getaddrinfo(host, port, **kwargs):
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    resolved = []
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolved


def test_one_private_address_among_public_ones_is_enough_to_refuse(server, monkeypatch):
    resolve_to(monkeypatch, "93.184.216.34", "127.0.0.1")
    failure_class, message = fail(HttpVideo(uri=f"http://rebind.example:{server.port}/v.mp4").look_up)
    assert failure_class is FailureClass.ACCESS_DENIED
    assert "the host rebind.example has the address 127.0.0.1" in message


def test_the_checked_address_is_the_one_connected_to(server, monkeypatch):
    resolved = resolve_to(monkeypatch, "127.0.0.1")
    checked = []
    video = HttpVideo(
        uri=f"http://video.example:{server.port}/v.mp4", is_allowed_address=lambda a: checked.append(a) or True
    )
    assert video.look_up().version == '"v1"'
    assert (resolved, checked) == (["video.example"], ["127.0.0.1"])
    assert server.requests[0][2]["Host"] == f"video.example:{server.port}"


def test_the_next_address_of_a_host_is_tried_when_one_does_not_answer(server, monkeypatch):
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert LocalVideo(uri=f"http://video.example:{server.port}/v.mp4").look_up().version == '"v1"'


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert LocalVideo(uri=f"{server.url}/v.mp4").look_up().size_bytes == len(BODY)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_with_the_same_method(server, tmp_path, status):
    server.answers["/old"] = redirect("/dir/older?x=1", status)
    server.answers["/dir/older"] = redirect("../v.mp4", status)
    video = LocalVideo(uri=f"{server.url}/old")
    assert video.look_up().version == '"v1"'
    assert download(video, tmp_path) == BODY
    assert methods(server) == ["HEAD"] * 3 + ["GET"] * 3


def test_five_redirects_are_followed_and_six_are_not(server):
    for number in range(6):
        server.answers[f"/{number}"] = redirect(f"/{number - 1}" if number else "/v.mp4")
    assert LocalVideo(uri=f"{server.url}/4").look_up().version == '"v1"'
    failure_class, message = fail(LocalVideo(uri=f"{server.url}/5").look_up)
    assert failure_class is FailureClass.TRANSFER
    assert "more than 5 times" in message


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/v", "gopher://h", "http://[b/?k=secret"])
def test_redirects_to_anything_but_http_are_refused(server, location):
    server.answers["/old"] = redirect(location)
    failure_class, message = fail(LocalVideo(uri=f"{server.url}/old").look_up)
    assert failure_class is FailureClass.ACCESS_DENIED
    assert "secret" not in message


def test_a_redirect_to_a_private_address_is_refused_before_it_is_connected_to(server, other_server):
    server.answers["/old"] = redirect(f"http://127.0.0.2:{other_server.port}/v.mp4")
    video = HttpVideo(uri=f"{server.url}/old", is_allowed_address=lambda address: address == "127.0.0.1")
    failure_class, message = fail(video.look_up)
    assert failure_class is FailureClass.ACCESS_DENIED
    assert "127.0.0.2" in message
    assert (len(server.requests), other_server.requests) == (1, [])


def test_user_info_becomes_basic_authentication_for_its_own_server_only(server, other_server):
    server.answers["/old"] = redirect("/older")
    server.answers["/older"] = redirect(f"http://x:y@127.0.0.1:{other_server.port}/back")
    other_server.answers["/back"] = redirect(f"{server.url}/v.mp4")
    LocalVideo(uri=f"http://me:p%40ss@127.0.0.1:{server.port}/old").look_up()
    sent = [(path, headers.get("Authorization")) for _, path, headers in server.requests + other_server.requests]
    basic = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert sent == [("/old", basic), ("/older", basic), ("/v.mp4", None), ("/back", None)]


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    """An https server for the name localhost, and its certificate's path."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret_format = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *secret_format))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = Server(context=context)
    server.answers["/v.mp4"] = reply()
    server.sent_names = []
    context.sni_callback = lambda sock, name, ctx: server.sent_names.append(name)
    yield server, str(folder / "cert.pem")
    server.stop()


def test_https_checks_the_certificate_against_the_name_of_the_host(tls_server, tmp_path, monkeypatch):
    server, certificate = tls_server
    assert fail(LocalVideo(uri=f"{server.url}/v.mp4").look_up)[0] is FailureClass.TRANSFER
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    assert download(LocalVideo(uri=f"{server.url}/v.mp4"), tmp_path) == BODY
    assert server.sent_names[-1] == "localhost"
    failure_class, message = fail(LocalVideo(uri=f"https://127.0.0.1:{server.port}/v.mp4").look_up)
    assert failure_class is FailureClass.TRANSFER
    assert "SSLCertVerificationError" in message


def test_a_redirect_from_https_to_http_is_refused_and_back_is_followed(tls_server, server, monkeypatch):
    secure, certificate = tls_server
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    secure.answers["/down"] = redirect(f"{server.url}/v.mp4")
    server.answers["/up"] = redirect(f"{secure.url}/v.mp4")
    failure_class, message = fail(LocalVideo(uri=f"{secure.url}/down").look_up)
    assert failure_class is FailureClass.ACCESS_DENIED
    assert "from https to http" in message
    assert server.requests == []
    assert LocalVideo(uri=f"{server.url}/up").look_up().version == '"v1"'
