import pytest

from jobs.compact import main, parse_bytes
from tests.unit.results.answer_rows import commit, names_of, row


def test_the_job_merges_then_deletes_and_says_so(tmp_path, capsys):
    for key in "abc":
        commit(str(tmp_path), [row(key)])
    assert main([str(tmp_path), "--grace-s", "0", "--dry-run"]) == 0
    assert "3 small files would be merged into 1, 3 superseded files would be put aside" in capsys.readouterr().out
    assert len(names_of(str(tmp_path))) == 3
    assert main([str(tmp_path), "--grace-s", "0"]) == 0
    assert len(names_of(str(tmp_path))) == 1
    assert main([str(tmp_path)]) == 0
    assert "0 files deleted that were put aside earlier; 3 wait for that" in capsys.readouterr().out
    assert main([str(tmp_path), "--grace-s", "0", "--storage-options", "{}"]) == 0
    assert "3 files deleted that were put aside earlier; 0 wait" in capsys.readouterr().out
    assert not list((tmp_path / "_superseded").glob("*.old"))


def test_a_place_that_is_no_output_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere is no output" in capsys.readouterr().err


def test_an_unreadable_result_file_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "part-0.parquet").write_bytes(b"PAR1")
    assert main([str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: result file")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("text", "size_bytes"), [("7", 7), ("1KiB", 1024), ("1.5MiB", 3 * 2**19), ("2GiB", 2**31)])
def test_sizes_may_have_units(text, size_bytes):
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target-bytes", "1TB"], "'1TB' is not a number of bytes"),
        (["--target-bytes", "inf"], "'inf' is not a number of bytes"),
        (["--storage-options", '{"key": "hidden"'], "not JSON"),
        (["--storage-options", '["hidden"]'], "must be a JSON object"),
        (["--grace", "0"], "unknown option --grace; did you mean --grace-s?"),
    ],
)
def test_options_that_make_no_sense_are_refused_and_credentials_not_shown(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), *arguments])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in said
    assert "hidden" not in said


def test_a_negative_grace_time_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path), "--grace-s", "-1"]) == 2
    assert "grace_s at least 0" in capsys.readouterr().err
