"""Stores of two other clouds on this machine: an emulator of Google's, with its conditions added, and Azurite."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # gcsfs asks by gRPC what kind of bucket it is: not emulated

# The account and key of Azurite, which Microsoft publishes for it.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def google_store():
    """Storage options of an empty store with the bucket ``archive``."""
    from gcp_storage_emulator.server import create_server

    with _with_conditions():
        port = free_port()
        server = create_server("127.0.0.1", port, in_memory=True, default_bucket="archive")
        server.start()
        try:
            yield {"endpoint_url": f"http://127.0.0.1:{port}", "token": "anon", "project": "none"}
        finally:
            server.stop()


@contextmanager
def _with_conditions():
    """The emulator knows no ``ifGenerationMatch``: this looks at the generation first."""
    from gcp_storage_emulator.handlers import objects

    real = {name: getattr(objects, name) for name in ("insert", "delete")}

    def conditional(name):
        def handle(request, response, storage):
            wanted = request.query.get("ifGenerationMatch", [None])[0]
            key = request.query.get("name", [request.params.get("object_id")])[0]
            assert request.data is not None or name == "delete"  # the body is read before an answer is written
            if wanted is not None and wanted != _generation(storage, request.params["bucket_name"], key):
                response.status = HTTPStatus.PRECONDITION_FAILED
                response.json({"error": {"code": 412, "message": "conditionNotMet"}})
                return
            real[name](request, response, storage)

        return handle

    from gcp_storage_emulator import server

    before = server.HANDLERS
    server.HANDLERS = tuple(
        (
            pattern,
            {
                method: conditional(_name(handler, real)) if _name(handler, real) else handler
                for method, handler in handlers.items()
            },
        )
        for pattern, handlers in before
    )
    try:
        yield
    finally:
        server.HANDLERS = before


def _name(handler, real):
    return next((name for name, function in real.items() if function is handler), None)


def _generation(storage, bucket, key):
    try:
        return storage.get_file_obj(bucket, key)["generation"]
    except Exception as error:
        if type(error).__name__ != "NotFound":
            raise
        return "0"


@contextmanager
def azure_store(folder):
    """Storage options of an empty store with the container ``archive``; None where npm has not installed Azurite."""
    program = shutil.which("azurite-blob")
    if program is None:
        yield None
        return
    port = free_port()
    words = [program, "--silent", "--skipApiVersionCheck", "--inMemoryPersistence"]
    process = subprocess.Popen([*words, "--blobPort", str(port)], cwd=Path(folder))
    address = f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"
    parts = ("DefaultEndpointsProtocol=http", f"AccountName={AZURITE_ACCOUNT}", f"AccountKey={AZURITE_KEY}")
    options = {"account_name": AZURITE_ACCOUNT, "connection_string": ";".join([*parts, f"BlobEndpoint={address};"])}
    try:
        _await_port(port)
        import fsspec

        fsspec.filesystem("az", **options).mkdir("archive")
        yield options
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await_port(port):
    for _ in range(300):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("Azurite does not answer")
