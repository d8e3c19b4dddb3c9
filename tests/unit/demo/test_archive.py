import itertools

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.demo.archive import (
    KEYFRAME_INTERVAL,
    NEEDLE_FRAMES,
    ArchiveSpec,
    demo_spec,
    generator,
    plan_timeline,
    write_archive,
)
from pipeline.demo.scenes import COLORS, HEIGHT, SHAPES, WIDTH, shape_mask
from pipeline.video.probe import probe_video
from pipeline.video.probe_codec import pack_probe, unpack_probe


def small_spec(**changes):
    return ArchiveSpec(**{"num_frames": (600, 600), "questions_per_video": 3, "seed": 5, **changes})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return folder, pq.read_table(write_archive(folder, small_spec(open_questions_per_video=1))).to_pylist()


@pytest.mark.parametrize("seed", range(20))
def test_needles_are_shown_once_and_nothing_overlaps(seed):
    spec = small_spec(seed=seed)
    timeline = plan_timeline(generator("archive", seed, 0, 0), spec, 600)
    needles, distractors = timeline[:3], timeline[3:]
    needle_shapes = [needle.shape for needle in needles]
    assert len(set(needle_shapes)) == 3
    assert not set(needle_shapes) & {distractor.shape for distractor in distractors}
    assert all(NEEDLE_FRAMES[0] <= n.end_frame - n.start_frame <= NEEDLE_FRAMES[1] for n in timeline)
    spans = sorted((a.start_frame, a.end_frame) for a in timeline)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_needle_durations_are_uniform_over_the_whole_range():
    spec = small_spec(num_frames=(2_000,), questions_per_video=6)
    lengths = [
        needle.end_frame - needle.start_frame
        for seed in range(150)
        for needle in plan_timeline(generator("archive", seed, 0, 0), spec, 2_000)[:6]
    ]
    counts, _ = np.histogram(lengths, bins=np.linspace(4, 65, 5))
    assert min(lengths) == 4
    assert max(lengths) == 64
    assert counts.min() > 0.8 * counts.mean()


def test_training_and_archive_never_share_random_numbers():
    draws = [generator(split, 0, 0, 1).integers(0, 2**62, 50) for split in ("train", "archive")]
    assert not set(draws[0].tolist()) & set(draws[1].tolist())


def test_videos_are_long_gop_h264_with_one_encoded_frame_per_sample(archive):
    folder, _ = archive
    with av.open(str(folder / "videos" / "v000.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", WIDTH, HEIGHT)
        assert len(packets) == 600
        assert float(stream.average_rate) == 2.0
        keyframes = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        assert keyframes == [0, KEYFRAME_INTERVAL, 2 * KEYFRAME_INTERVAL]
        assert any(packet.pts < before.pts for before, packet in itertools.pairwise(packets))  # B-frames


def copy_streams(source, target, **metadata):
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        new.metadata.update(old.metadata | metadata)
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return str(target)


def test_a_video_made_here_is_known_by_its_mark_also_in_another_container(archive, tmp_path):
    path = archive[0] / "videos" / "v000.mp4"
    assert probe_video(str(path)).is_demo_video
    assert unpack_probe(pack_probe(probe_video(str(path))), path="elsewhere.mp4").is_demo_video
    assert probe_video(copy_streams(path, tmp_path / "v.mkv")).is_demo_video
    assert not probe_video(copy_streams(path, tmp_path / "v.mp4", comment="my holidays")).is_demo_video


def test_the_manifest_names_the_right_letter_and_the_true_time(archive):
    _, rows = archive
    spec = small_spec(open_questions_per_video=1)
    for row in rows:
        video = int(row["video"][8:11])
        timeline = plan_timeline(generator("archive", 5, video, 0), spec, 600)
        needle = timeline[int(row["question_id"][-1])]
        assert row["question"] == f"What color is the {needle.shape}?"
        assert (row["needle_start_s"], row["needle_end_s"]) == (needle.start_frame / 2, needle.end_frame / 2)
        if row["options"] is None:
            assert row["expected"] == needle.color
        else:
            assert len(set(row["options"])) == 4
            assert row["options"]["ABCD".index(row["expected"])] == needle.color
    assert sum(row["options"] is None for row in rows) == 2


def test_the_same_seed_writes_the_same_bytes_and_finished_videos_are_kept(archive, tmp_path):
    folder, _ = archive
    spec = small_spec(open_questions_per_video=1)
    write_archive(tmp_path, spec)
    assert (tmp_path / "videos/v000.mp4").read_bytes() == (folder / "videos/v000.mp4").read_bytes()
    before = (tmp_path / "videos/v001.mp4").stat().st_mtime_ns
    write_archive(tmp_path, spec)
    assert (tmp_path / "videos/v001.mp4").stat().st_mtime_ns == before


def test_another_spec_in_the_same_folder_replaces_all_videos(tmp_path):
    write_archive(tmp_path, small_spec())
    old = (tmp_path / "videos/v000.mp4").read_bytes()
    write_archive(tmp_path, small_spec(seed=6, num_frames=(600,)))
    assert (tmp_path / "videos/v000.mp4").read_bytes() != old
    assert not (tmp_path / "videos/v001.mp4").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions_per_video": 7}, "between 1 and 6"),
        ({"num_frames": (100,)}, "at least 396"),
        ({"open_questions_per_video": 4}, "between 0 and 3"),
        ({"encoded_frames_per_sample": 0}, "at least 1"),
    ],
)
def test_impossible_archives_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        small_spec(**changes)


def test_the_demo_has_twelve_questions_and_one_video_of_ten_thousand_frames():
    spec = demo_spec()
    assert spec.questions_per_video * len(spec.num_frames) == 12
    assert max(spec.num_frames) == 10_000


def test_all_shapes_are_large_and_differ_from_each_other():
    masks = {shape: shape_mask(shape, 61) for shape in SHAPES}
    for shape, mask in masks.items():
        assert 0.15 < mask.mean() < 0.85, shape
        for other, other_mask in masks.items():
            overlap = (mask & other_mask).sum() / (mask | other_mask).sum()
            assert other == shape or overlap < 0.85, (shape, other)
    assert len(COLORS) == 6
