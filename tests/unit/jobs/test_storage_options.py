"""Storage options: read from JSON or a file, hidden from process lists, absent from every message."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.wiring.cli import build_parser
from jobs.wiring.storage_options import check_storage_options, parse_storage_options, secret_values

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = {"endpoint_url": "http://host:1", "key": "hidden-id", "client_kwargs": {"aws_session_token": "hidden-token"}}


def test_json_and_a_file_of_it_say_the_same(tmp_path):
    (tmp_path / "s3.json").write_text(json.dumps(OPTIONS))
    assert parse_storage_options(json.dumps(OPTIONS)) == OPTIONS
    assert parse_storage_options(f"@{tmp_path}/s3.json") == OPTIONS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"secret": "hidden", }', r"not JSON \(character 21\)"),
        ('["hidden"]', "must be a JSON object, got a list"),
        ("@/no/such/hidden.json", "the file '/no/such/hidden.json' cannot be read"),
    ],
)
def test_what_is_no_json_object_is_refused_without_showing_it(text, expected, capsys):
    with pytest.raises(argparse.ArgumentTypeError, match=expected):
        parse_storage_options(text)
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--demo", "--storage-options", text])
    assert text.startswith("@") or "hidden" not in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says where a process's arguments lie")
def test_the_process_list_does_not_show_them():
    program = (
        "import sys; from jobs.wiring.storage_options import parse_storage_options as parse; "
        "options = parse(sys.argv[2]); print(options['key'], open('/proc/self/cmdline').read().split(chr(0))[3:6])"
    )
    words = [sys.executable, "-c", program, "--storage-options", '{"key": "hidden"}', "--after"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    printed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == f"hidden {['--storage-options', '*' * 17, '--after']}"


def test_every_value_but_harmless_ones_counts_as_secret():
    assert secret_values(OPTIONS | {"region_name": "eu-1", "anon": False}) == ("hidden-token", "hidden-id")
    assert secret_values(None) == ()


def test_an_option_that_s3fs_does_not_know_is_named_and_no_value_is():
    with pytest.raises(ValueError, match="no_such_option") as caught:
        check_storage_options({"no_such_option": "hidden", "key": "hidden", "secret": "hidden"})
    assert "hidden" not in str(caught.value)
    check_storage_options({"key": "a", "secret": "b", "endpoint_url": "http://127.0.0.1:9"})
    check_storage_options(None)
