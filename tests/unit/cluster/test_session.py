"""Ray that does not start ends in one line with a remedy, whatever it raises."""

import socket
import threading

import pytest
import ray
from ray.exceptions import RpcError

from cluster import session
from cluster.session import ray_session
from pipeline.failures import PipelineError


@pytest.fixture
def refusing(monkeypatch):
    """``ray.init`` raises what it is given; whether what had begun was ended is noted."""
    ended = []
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)

    def refuse_with(error):
        def init(**options):
            raise error

        monkeypatch.setattr(ray, "init", init)
        return ended

    return refuse_with


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nThis could happen because"),
        RuntimeError("Failed to connect to GCS."),
        TimeoutError("Timed out while waiting for the GCS"),
        RpcError("Timed out", 4),
        OSError("AF_UNIX path length cannot exceed 107 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_ray_that_cannot_start_here_is_one_line_with_a_remedy(refusing, error):
    ended = refusing(error)
    with (
        pytest.raises(PipelineError, match=r"Ray cannot start on this machine .*ray stop --force.*serial") as caught,
        ray_session(),
    ):
        pass
    assert "\n" not in caught.value.message
    assert ended == [True]


def test_a_cluster_that_cannot_be_reached_is_named(refusing, monkeypatch):
    refusing(ConnectionError("Could not find any running Ray instance"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        with pytest.raises(PipelineError, match=rf"{address} cannot be reached .*ray status"), ray_session():
            pass


def test_who_listens_and_says_nothing_is_not_waited_for_either(refusing, monkeypatch):
    refusing(AssertionError("Ray was asked, which waits for minutes"))
    monkeypatch.setattr(session, "_GREETING_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(PipelineError, match=rf":{port} cannot be reached .*not answered for 0.2 s"), ray_session():
            pass


def test_an_address_at_which_nobody_listens_is_not_waited_for(refusing, monkeypatch):
    refusing(AssertionError("Ray was asked, which waits for minutes"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(PipelineError, match=rf":{port} cannot be reached .*Connection refused"), ray_session():
        pass


def test_an_interruption_of_the_start_stays_one(refusing):
    refusing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), ray_session():
        pass
