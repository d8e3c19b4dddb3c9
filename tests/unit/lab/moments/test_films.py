import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.lab import make_moment_benchmark
from pipeline.lab.moments.benchmark import MANIFEST_SCHEMA, MomentBenchmarkSpec, write_moment_benchmark
from pipeline.lab.moments.films import SHAPES, FilmLook, render_film, write_film
from pipeline.lab.moments.plan import StorySpec, draw_story
from pipeline.lab.moments.questions import KINDS
from pipeline.video.decode import decode_stretch
from pipeline.video.probe import probe_video

SHORT = StorySpec(needle_frames=(2, 4), event_share=(0.03, 0.03), distractor_density=0.0)


def small_spec(**changes):
    return MomentBenchmarkSpec(**{"num_frames": (340,), "videos_per_length": 1, "seed": 4, "story": SHORT, **changes})


def test_a_turned_file_is_seen_upright_and_shows_what_was_drawn(tmp_path):
    look = FilmLook(shape="9:16", content_aspect=None, is_turned=True, is_held_out=False)
    story = draw_story(np.random.default_rng(0), SHORT, 340, aspect=9 / 16)
    frames = list(render_film(np.random.default_rng(1), story, look, fps=2.0))
    write_film(tmp_path / "film.mp4", iter(frames), look, fps=2.0)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stored = container.streams.video[0]
        assert (stored.width, stored.height) == (256, 144)
    probe = probe_video(str(tmp_path / "film.mp4"))
    assert (probe.height, probe.width) == (256, 144)
    decoded = decode_stretch(probe, np.array([10, 200]), size=(256, 144)).frames
    for index, picture in zip((10, 200), decoded, strict=True):
        assert abs(picture.astype(int) - frames[index]).mean() < 8
        assert abs(picture[::-1, ::-1].astype(int) - frames[index]).mean() > 8


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_model_sixteen_tokens_or_more(shape):
    from pipeline.models.qwen.preprocess import PatchGeometry, fit_size

    height, width = fit_size(*SHAPES[shape], geometry=PatchGeometry(), min_pixels=784, max_pixels=24 * 784)
    assert height // 28 * (width // 28) >= 16


def test_what_a_moment_shows_is_in_its_frames_and_in_no_other():
    """Frames of the same seed with and without the moments differ exactly where there are some."""
    look = FilmLook(shape="4:3", content_aspect=16 / 9, is_turned=False, is_held_out=True)
    story = draw_story(np.random.default_rng(3), SHORT, 340, aspect=16 / 9)
    frames = np.stack(list(render_film(np.random.default_rng(1), story, look, fps=2.0)))
    assert frames[:, 1:10, 40:120].max() == 0 or frames[:, 1:10, 40:120].mean() < 40  # bars, but for overlays
    colorful = (frames.max(axis=-1).astype(int) - frames.min(axis=-1)) > 110
    share_F = colorful.mean(axis=(1, 2))
    shown_F = np.zeros(340, dtype=bool)
    for moment in story.moments:
        shown_F[moment.start_frame : moment.end_frame] = True
    assert (share_F[shown_F] > 0.01).mean() > 0.85
    assert (share_F[~shown_F] > 0.01).mean() < 0.15


def test_the_manifest_has_its_columns_and_questions_and_a_second_call_goes_on(tmp_path):
    manifest = write_moment_benchmark(tmp_path, small_spec())
    table = pq.read_table(manifest)
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert set(table["kind"].to_pylist()) == set(KINDS)
    assert len(set(table["question_id"].to_pylist())) == len(table)
    video = tmp_path / table["video"][0].as_py()
    before = video.stat().st_mtime_ns
    some = pq.read_table(write_moment_benchmark(tmp_path, small_spec(kinds=("scene",))))
    assert video.stat().st_mtime_ns == before
    assert some.to_pylist() == [row for row in table.to_pylist() if row["kind"] == "scene"]
    with pytest.raises(ValueError, match="holds another benchmark"):
        write_moment_benchmark(tmp_path, small_spec(seed=5))


def test_a_wrong_option_ends_with_one_line(tmp_path, capsys):
    assert make_moment_benchmark.main(["--output", str(tmp_path), "--kinds", "colour"]) == 2
    assert "kinds must be some of needle" in capsys.readouterr().err
