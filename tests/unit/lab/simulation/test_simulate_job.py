import json

import pytest

from jobs.lab import simulate

SMALL = ["--frames", "256", "--questions", "1", "--frames-decoded-per-wanted", "1", "--coordinator-decision-s", "1e-4"]


def test_one_file_per_run_and_finished_runs_are_not_repeated(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs"
    arguments = ["--gpus", "1,2", "--videos", "2,3", *SMALL, "--output", str(folder)]
    assert simulate.main(arguments) == 0
    first = {path: path.read_text() for path in folder.iterdir()}
    assert [json.loads(line)["num_videos"] for line in capsys.readouterr().out.splitlines()] == [2, 3]
    monkeypatch.setattr(
        "pipeline.lab.simulation.simulator.Simulation", lambda settings: pytest.fail("a finished run was repeated")
    )
    assert simulate.main(arguments) == 0
    assert {path: path.read_text() for path in folder.iterdir()} == first
    assert len(first) == 2


def test_table_and_plot_show_every_run_of_the_folder(tmp_path):
    folder, table, plot = tmp_path / "runs", tmp_path / "table.md", tmp_path / "plot.png"
    common = [*SMALL, "--videos", "2", "--output", str(folder)]
    assert simulate.main(["--gpus", "1,2", *common]) == 0
    sweep = ["--gpus", "1", "--decode-cores-per-gpu", "1,2,3", "--seed", "1", *common]
    assert simulate.main([*sweep, "--markdown", str(table), "--plot", str(plot)]) == 0
    lines = table.read_text().splitlines()
    assert len(lines) == 2 + 5
    assert len({line.count("|") for line in lines}) == 1
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("asked", "num"), [([], 1), (["--coordinators", "2"], 2)])
def test_coordinators_are_as_many_as_a_job_would_have_unless_set(tmp_path, capsys, asked, num):
    assert simulate.main(["--gpus", "2", "--videos", "3", *SMALL, *asked, "--output", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["num_coordinators"] == num


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "1,8", "--videos", "1,2,3"], "--videos must be one number or 2, one per number of GPUs; got 3"),
        (["--gpus", "0"], "num_gpus must be at least 1, got 0"),
        (["--times-answer-s", "-1"], "times.answer_s must be at least 0, got -1.0"),
    ],
)
def test_bad_options_end_with_exit_code_2_and_say_what_is_allowed(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        simulate.main([*arguments, "--output", str(tmp_path)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
