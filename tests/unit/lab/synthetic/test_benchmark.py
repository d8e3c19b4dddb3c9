import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.lab import make_synthetic_benchmark
from pipeline.demo.scenes import COLORS
from pipeline.lab.synthetic.benchmark import MANIFEST_SCHEMA, BenchmarkSpec, write_benchmark
from pipeline.lab.synthetic.questions import KINDS
from pipeline.lab.synthetic.timeline import TimelineSpec
from pipeline.video.probe import probe_video


def small_spec(**changes):
    return BenchmarkSpec(**{"num_frames": (500,), "videos_per_length": 1, "seed": 9, **changes})


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    return folder, pq.read_table(write_benchmark(folder, small_spec()))


def frames_at(path, times_s):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert frames[-1].time == pytest.approx(249.5)
    return [frames[round(time_s * 2)].to_ndarray(format="rgb24") for time_s in times_s]


def test_the_manifest_has_its_columns_and_the_questions_of_each_kind(benchmark):
    _, table = benchmark
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert table["kind"].to_pylist() == [kind for kind in KINDS for _ in range(1 if kind == "absent" else 2)]
    rows = table.to_pylist()
    assert len({row["question_id"] for row in rows}) == 9
    assert {row["video"] for row in rows} == {"videos/n00500-v000.mp4"}
    assert {(row["num_frames_asked"], row["distractor_density"]) for row in rows} == {(500, 0.06)}
    for row in rows:
        spans = list(zip(row["needle_start_s"], row["needle_end_s"], strict=True))
        assert row["needle_frames"] == round(2 * sum(end - start for start, end in spans))
        assert spans == sorted(spans)
        assert (row["expected"] is None) == (row["kind"] == "absent") == (spans == [])
        assert len(spans) == {"needle": 1, "order": 2, "last": 1, "count": int_of(row), "absent": 0}[row["kind"]]


def int_of(row):
    return int(row["options"]["ABCD".index(row["expected"])]) if row["kind"] == "count" else None


def test_the_encoded_video_shows_the_right_colour_where_the_manifest_says(benchmark):
    folder, table = benchmark
    checked = 0
    for row in table.to_pylist():
        if row["kind"] not in ("needle", "last"):
            continue
        wanted = row["options"]["ABCD".index(row["expected"])]
        start, end = row["needle_start_s"][0], row["needle_end_s"][0]
        shown, before = frames_at(folder / row["video"], [(start + end) // 1 / 2, max(0.0, start - 1.5)])
        share = {
            name: np.mean(np.abs(shown.astype(int) - np.array(rgb)).max(axis=-1) < 45) for name, rgb in COLORS.items()
        }
        assert max(share, key=share.get) == wanted
        assert share[wanted] > np.mean(np.abs(before.astype(int) - np.array(COLORS[wanted])).max(axis=-1) < 45)
        checked += 1
    assert checked == 4


def test_a_second_call_keeps_the_videos_and_may_ask_for_more(benchmark):
    folder, table = benchmark
    path = folder / "videos" / "n00500-v000.mp4"
    before = path.stat().st_mtime_ns
    more = pq.read_table(write_benchmark(folder, small_spec(videos_per_length=2, kinds=("order", "needle"))))
    assert path.stat().st_mtime_ns == before
    assert more.num_rows == 8
    kept = [row for row in table.to_pylist() if row["kind"] in ("order", "needle")]
    assert more.to_pylist()[:4] == kept
    assert pq.read_table(write_benchmark(folder, small_spec())).equals(table)


def test_the_same_seed_gives_the_same_bytes(benchmark, tmp_path):
    folder, table = benchmark
    assert pq.read_table(write_benchmark(tmp_path, small_spec())).equals(table)
    name = "videos/n00500-v000.mp4"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_benchmark_in_the_folder_is_left_alone(benchmark):
    folder, _ = benchmark
    with pytest.raises(ValueError, match=r"(?s)holds another benchmark .*; choose another folder"):
        write_benchmark(folder, small_spec(seed=10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": ()}, "num_frames must name at least one length"),
        ({"num_frames": (500, 500)}, "each once"),
        ({"videos_per_length": 0}, "videos_per_length must be at least 1"),
        ({"questions_per_kind": 3}, "questions_per_kind must be between 1 and 2"),
        ({"kinds": ("needle", "color")}, "kinds must be some of needle, order, last, count, absent"),
        ({"kinds": ()}, "kinds must be some of"),
        ({"num_frames": (100,)}, "may need"),
    ],
)
def test_a_benchmark_that_cannot_be_made_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_spec(**changes)


def test_the_command_reads_its_axes(tmp_path, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(make_synthetic_benchmark, "write_benchmark", lambda *call, **_: made.append(call) or "m")
    arguments = ["--output", str(tmp_path), "--seed", "3", "--num-frames", "500,2000", "--kinds", "order,last"]
    axes = ["--needle-frames", "8,8", "--distractor-density", "0.1", "--event-share", "0.01,0.02"]
    assert make_synthetic_benchmark.main([*arguments, *axes, "--videos-per-length", "5"]) == 0
    timeline = TimelineSpec(needle_frames=(8, 8), event_share=(0.01, 0.02), distractor_density=0.1)
    spec = BenchmarkSpec(
        num_frames=(500, 2_000), videos_per_length=5, seed=3, kinds=("order", "last"), timeline=timeline
    )
    assert made == [(tmp_path, spec)]
    assert make_synthetic_benchmark.main([*arguments, "--num-frames", "90"]) == 2
    assert "error: a video of 90 frames may need" in capsys.readouterr().err


def test_its_videos_carry_the_mark_by_which_the_demo_model_knows_them(benchmark):
    folder, _ = benchmark
    assert probe_video(str(folder / "videos" / "n00500-v000.mp4")).is_demo_video
