"""What is said of a sandbox: in a row, in the log, and where one is required that is not there."""

import pytest

from pipeline.sandbox.layers import LAYERS, SandboxReport, unpack_report


def report(*names, missing=()):
    return SandboxReport(in_force=dict.fromkeys(names, ""), missing=dict.fromkeys(missing, "Operation not permitted"))


def test_a_row_names_the_layers_in_the_order_of_their_names():
    assert report("seccomp", "limits").summary == "limits+seccomp"
    assert report().summary == "off"


@pytest.mark.parametrize("files", ["landlock", "mounts"])
def test_one_way_of_keeping_files_is_enough(files):
    assert report("limits", "privileges", "seccomp", files, missing=("network",)).refusal() is None


@pytest.mark.parametrize(
    ("gone", "named"),
    [({"seccomp"}, "seccomp"), ({"privileges"}, "privileges"), ({"landlock", "mounts"}, "landlock or mounts")],
)
def test_what_is_required_and_missing_is_named_with_its_reason_and_a_remedy_in_one_line(gone, named):
    refusal = report(*(set(LAYERS) - gone), missing=gone).refusal()
    assert f"there is no {named} here" in refusal
    assert "Operation not permitted" in refusal
    assert "set reading.sandbox=auto" in refusal
    assert "\n" not in refusal


def test_a_report_comes_back_as_it_was_sent():
    sent = report("limits", missing=("network",))
    assert unpack_report(sent.pack()) == sent
