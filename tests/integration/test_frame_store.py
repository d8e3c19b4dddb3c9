"""A second run over the same videos: the same rows, nothing decoded; and the same rows with a store full of lies."""

from dataclasses import replace

import fsspec
import pytest

from actors.outcomes import VideoOutcome
from actors.ray_executor import ActorOptions, run_on_ray
from actors.serial_executor import run_serial
from jobs.wiring.model_source import load_configured_model
from pipeline.passes.whole_video import answer_video
from pipeline.settings.sources import FrameStoreConfig

FEW = {"sampling.max_frames": 128}


@pytest.fixture(scope="module")
def plain_rows(make_job, rows_of):
    """What a run without a store says."""
    known = {}

    def rows(method):
        if method not in known:
            known[method] = rows_of(run_serial(make_job(method, **FEW)))
        return known[method]

    return rows


def with_store(job, uri, **options):
    config = replace(job.config, frame_store=FrameStoreConfig(uri=str(uri), **options))
    return replace(job, config=config)


def run(job, rows_of, execute=run_serial):
    """Rows, frames decoded, notes."""
    outcomes = [event for event in execute(job) if isinstance(event, VideoOutcome)]
    rows = rows_of(outcomes)
    notes = [note for outcome in outcomes for note in outcome.notes]
    return rows, sum(outcome.rows[0].video_num_frames_decoded for outcome in outcomes), notes


def test_a_second_run_decodes_nothing_and_gives_the_same_rows(make_job, rows_of, plain_rows, stable, tmp_path):
    job = with_store(make_job("adapttoken", **FEW), tmp_path / "store")
    first, second = run(job, rows_of), run(job, rows_of)
    assert stable(first[0]) == stable(second[0]) == stable(plain_rows("adapttoken"))
    assert first[1] > 0
    assert second[1] == 0
    assert first[2] == second[2] == []


def test_a_run_that_cuts_other_stretches_and_one_that_stops_early_use_what_is_there(
    make_job, rows_of, plain_rows, stable, tmp_path
):
    run(with_store(make_job("adapttoken", **FEW), tmp_path), rows_of)
    for method, num_decoders in (("adapttoken", 4), ("adapttoken-lite", 1)):
        job = make_job(method, num_decoders=num_decoders, **FEW)
        rows, num_decoded, notes = run(with_store(job, tmp_path), rows_of)
        assert stable(rows) == stable(plain_rows(method))
        assert (num_decoded, notes) == (0, [])


def test_one_warning_for_each_wrong_file_and_the_same_rows(make_job, rows_of, plain_rows, stable, tmp_path):
    job = with_store(make_job("adapttoken", num_decoders=2, **FEW), tmp_path)
    run(job, rows_of)
    files = sorted(tmp_path.glob("*/*.frames"))
    sound = [file.read_bytes() for file in files]
    assert len(files) >= 4
    files[0].write_bytes(sound[0][:1_000])
    files[1].write_bytes(sound[2])
    files[2].write_bytes(sound[1])
    files[3].write_bytes(b"\x80\x04" + bytes(range(256)) * 64)
    rows, num_decoded, notes = run(job, rows_of)
    assert stable(rows) == stable(plain_rows("adapttoken"))
    assert num_decoded > 0
    assert sorted(note.split(" is not used")[0].rpartition("/")[2] for note in notes) == sorted(
        file.name for file in files[:4]
    )
    assert [file.read_bytes() for file in files] == sound
    assert run(job, rows_of)[1:] == (0, [])


def on_ray(place):
    return lambda job: run_on_ray(job, ActorOptions(scorer=(place,), decoder=(place, place)))


@pytest.fixture
def bucket(s3_endpoint):
    """Its file system, and how to reach it."""
    options = {"endpoint_url": s3_endpoint, "key": "k", "secret": "s"}
    store = fsspec.filesystem("s3", **options)
    store.mkdir("frames")
    yield store, options
    store.rm("frames", recursive=True)


def test_in_an_object_store(make_job, rows_of, plain_rows, stable, bucket):
    store, options = bucket
    job = replace(with_store(make_job("adapttoken", **FEW), "s3://frames/a"), storage_options=options)
    for is_first in (True, False):
        rows, num_decoded, notes = run(job, rows_of)
        assert stable(rows) == stable(plain_rows("adapttoken"))
        assert notes == []
        assert (num_decoded > 0) == is_first
    one, *_ = sorted(path for path in store.find("frames/a"))
    sound = store.cat_file(one)
    store.pipe_file(one, b"")
    rows, num_decoded, (note,) = run(job, rows_of)
    assert stable(rows) == stable(plain_rows("adapttoken"))
    assert num_decoded > 0
    assert one.rpartition("/")[2] in note
    store.invalidate_cache()
    assert store.cat_file(one) == sound


@pytest.mark.slow
def test_workers_on_ray_share_it_and_their_warnings_reach_the_log(
    make_job, rows_of, plain_rows, stable, ray_cluster, place, tmp_path
):
    job = with_store(make_job("adapttoken", num_decoders=2, **FEW), tmp_path)
    assert run(job, rows_of, on_ray(place))[1] > 0
    assert run(job, rows_of, on_ray(place))[1:] == (0, [])
    file, *_ = sorted(tmp_path.glob("*/*.frames"))
    file.write_bytes(b"")
    rows, _, (note,) = run(job, rows_of, on_ray(place))
    assert file.name in note
    assert stable(rows) == stable(plain_rows("adapttoken"))


def test_the_plain_loop_shares_the_store_with_jobs(make_job, rows_of, archive, tmp_path):
    job = with_store(make_job("adapttoken", **FEW), tmp_path)
    run(job, rows_of)
    names = sorted(file.name for file in tmp_path.glob("*/*.frames"))
    model, video = load_configured_model(job.config), str(archive.parent / "videos" / "v000.mp4")
    stored, without = (
        answer_video(video, ["What color is the ring?"], model=model, config=config)
        for config in (job.config, make_job("adapttoken", **FEW).config)
    )
    assert stored[0].final == without[0].final
    assert sorted(file.name for file in tmp_path.glob("*/*.frames")) == names
