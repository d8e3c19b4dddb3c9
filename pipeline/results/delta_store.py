"""Where a Delta table lies, and the options of its own client for a store that s3fs's options describe."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.uris import StorageOptions, has_scheme, uri_scheme

_NAMES = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region_name": "AWS_REGION",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}


def delta_store(output_uri: str, folder: str, storage_options: StorageOptions) -> tuple[str, dict[str, str]]:
    """The table's address and the client's options; what they leave out comes from the environment, as for s3fs.

    Example: ``("s3://b/out", "delta", {"key": "k"}) -> ("s3://b/out/delta", {"AWS_ACCESS_KEY_ID": "k", ...})``.
    """
    if not has_scheme(output_uri):
        return str(Path(output_uri).absolute() / folder), {}
    place = f"{output_uri.rstrip('/')}/{folder}"
    if uri_scheme(output_uri) not in ("s3", "s3a"):
        return place, {}
    given = dict(storage_options or {})
    inner = given.get("client_kwargs")
    named = {**(inner if isinstance(inner, Mapping) else {}), **given}
    options = {_NAMES[name]: str(value) for name, value in named.items() if name in _NAMES and value is not None}
    if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    if "AWS_ENDPOINT_URL" in options:  # a store of one's own has no regions, but is asked for one
        options.setdefault("AWS_REGION", "us-east-1")
    options.setdefault("AWS_CONDITIONAL_PUT", "etag")  # two runs that commit at once: one of them tries again
    return place, options
