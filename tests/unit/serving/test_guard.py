"""Who is let in: by name, by page, by token; each request as a browser or a script would send it."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pipeline.serving.guard import Guard, is_loopback, make_token

TOKEN = "0123456789abcdef-token"


def ask(guard, path="/api/head", *, method="GET", host="localhost:8760", cookies=None, **headers):
    """Status, text and reply of one request."""

    async def run():
        async def yes(request):
            return web.json_response({"yes": True})

        app = web.Application(middlewares=[guard.check])
        app.add_routes([web.get("/", yes), web.get("/api/head", yes), web.post("/api/ask", yes)])
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with TestClient(TestServer(app), cookies=cookies or {}) as client:
            reply = await client.request(method, path, headers={"Host": host, **names}, allow_redirects=False)
            return reply.status, await reply.text(), reply

    return asyncio.run(run())


LOCAL = Guard(host="127.0.0.1", token=None)
OPEN = Guard(host="0.0.0.0", token=TOKEN, allowed_hosts=["ask.example.org"])


@pytest.mark.parametrize("host", ["localhost:8760", "127.0.0.1", "127.0.0.9:1", "[::1]:8760", "LOCALHOST:80"])
def test_the_machine_s_own_names_are_answered(host):
    assert ask(LOCAL, host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8760", "10.0.0.1:8760", "", "a@b]["])
def test_a_name_that_somebody_made_mean_this_machine_is_refused(host):
    status, text, _ = ask(LOCAL, host=host)
    assert status == 403
    assert "--allow-host" in text


def test_a_server_for_others_goes_by_addresses_and_by_the_names_it_was_given():
    known = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(OPEN, host="10.0.0.1:8760", **known)[0] == 200
    assert ask(OPEN, host="ask.example.org", **known)[0] == 200
    assert ask(OPEN, host="evil.example", **known)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/ask"), ("GET", "/api/head")])
def test_what_another_page_asks_for_is_refused(headers, method, path):
    status, text, _ = ask(LOCAL, path, method=method, **headers)
    assert status == 403
    assert "only the server's own page may" in text


def test_the_own_page_and_scripts_are_answered_and_a_link_may_lead_here():
    own = {"Origin": "http://localhost:8760", "Sec_Fetch_Site": "same-origin"}
    assert ask(LOCAL, "/api/ask", method="POST", **own)[0] == 200
    assert ask(LOCAL, "/api/ask", method="POST")[0] == 200
    assert ask(LOCAL, "/", Sec_Fetch_Site="cross-site")[0] == 200


def test_nothing_is_open_to_a_network_without_a_token():
    with pytest.raises(ValueError, match=r"0\.0\.0\.0 can be reached by others: a token is needed"):
        Guard(host="0.0.0.0", token=None)
    with pytest.raises(ValueError, match="the token has 5 characters, at least 16"):
        Guard(host="127.0.0.1", token="short")
    assert len(make_token()) >= 32
    assert make_token() != make_token()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_without_the_token_there_is_nothing(headers):
    for path in ("/", "/api/head", "/?token=wrong", f"/api/head?token={TOKEN}", "/?token=%C3%A9"):
        status, text, _ = ask(OPEN, path, host="10.0.0.1:8760", **headers)
        assert (status, "a token is needed" in text) == (401, True), path


def test_the_address_with_the_token_leads_to_one_without_and_a_cookie_that_no_script_reads():
    status, _, reply = ask(OPEN, f"/?token={TOKEN}", host="10.0.0.1:8760")
    assert (status, reply.headers["Location"]) == (303, "/")
    (cookie,) = reply.headers.getall("Set-Cookie")
    assert cookie.startswith(f"adapttoken-8760={TOKEN};")
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert ask(OPEN, host="10.0.0.1:8760", Cookie=f"adapttoken-8760={TOKEN}")[0] == 200
    assert ask(OPEN, host="10.0.0.1:8760", Cookie=f"adapttoken-9999={TOKEN}")[0] == 401


def test_every_reply_forbids_to_guess_to_frame_and_to_keep_it():
    for _, _, reply in (ask(LOCAL), ask(LOCAL, host="evil.example")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("10.1.2.3", False)],
)
def test_loopback_is_told_from_the_network(host, expected):
    assert is_loopback(host) == expected
