"""Headers of videos by range reads: the copy tells the demuxer what the whole file would, and little is read."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.failures import FailureClass, PipelineError
from pipeline.planning import headers
from pipeline.planning.headers import coded_video_bytes, fetch_header
from pipeline.planning.video_sample import with_keyframes
from pipeline.video.probe import probe_video


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Writes a video that does not compress: 90 pictures of noise, about 1.3 MB."""
    folder = tmp_path_factory.mktemp("noise")

    def write(name, **options):
        path = folder / name
        if not path.exists():
            rng = np.random.default_rng(7)
            with av.open(str(path), "w", options=options) as container:
                stream = container.add_stream("libx264", rate=Fraction(30))
                stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
                stream.options = {"preset": "ultrafast", "crf": "20", "g": "30", "threads": "1"}
                for _ in range(90):
                    pixels = rng.integers(0, 256, (120, 160, 3), np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                container.mux(stream.encode())
        return path

    return write


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr(headers, "HEAD_BYTES", 100_000)
    monkeypatch.setattr(headers, "MAX_INDEX_BYTES", 50_000)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "index first"])
def test_an_mp4s_header_tells_what_the_whole_file_tells(noise, options, tmp_path):
    path = noise(f"{len(options)}.mp4", **options)
    header = fetch_header(str(path), tmp_path / "copy")
    assert header.bytes_read < 0.3 * path.stat().st_size
    assert (header.path, header.is_whole) == (str(tmp_path / "copy"), False)
    found, whole = with_keyframes(probe_video(header.path), header), probe_video(str(path))
    assert found.pts_s.tolist() == whole.pts_s.tolist()
    assert found.keyframe_indices.tolist() == whole.keyframe_indices.tolist() == [0, 30, 60]
    assert (found.duration_s, found.width, found.height) == (whole.duration_s, whole.width, whole.height)


def test_a_local_file_of_another_container_is_probed_where_it_lies(noise, tmp_path):
    path = noise("n.mkv")
    header = fetch_header(f"file://{path}", tmp_path / "copy")
    assert (header.path, header.is_whole, header.bytes_read) == (str(path), True, path.stat().st_size)


def test_fragments_have_no_index_that_can_be_read_alone(noise, tmp_path):
    path = noise("f.mp4", movflags="frag_keyframe+empty_moov")
    with pytest.raises(PipelineError, match="its figures are estimated"):
        fetch_header(str(path), tmp_path / "copy")


@pytest.mark.parametrize(
    ("uri", "failure_class"),
    [("/none.mp4", FailureClass.NOT_FOUND), ("https://host/v.mp4", FailureClass.UNSUPPORTED_MEDIA)],
)
def test_what_cannot_be_read_by_ranges_has_its_class(uri, failure_class, tmp_path):
    with pytest.raises(PipelineError) as caught:
        fetch_header(uri, tmp_path / "copy")
    assert caught.value.failure_class is failure_class


def test_a_box_that_lies_about_its_size_ends_the_search(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"\x00\x00\x00\x02free" + bytes(200_000))
    with pytest.raises(PipelineError, match="no index"):
        fetch_header(str(tmp_path / "v.mp4"), tmp_path / "copy")


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv"])
def test_coded_bytes_are_those_of_the_pictures_alone_where_an_index_says_so(name, tmp_path):
    path = tmp_path / name
    rng = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        pictures, sound = container.add_stream("mpeg4", rate=25), container.add_stream("pcm_s16le", rate=48_000)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound.layout = "mono"
        for number in range(10):
            image = rng.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            samples = av.AudioFrame.from_ndarray(rng.integers(0, 9, (1, 1_920), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 48_000, number * 1_920
            container.mux(sound.encode(samples))
        container.mux([*pictures.encode(), *sound.encode()])
    with av.open(str(path)) as container:
        expected = sum(packet.size for packet in container.demux(video=0))
    size_bytes = path.stat().st_size
    assert expected < 0.8 * size_bytes
    assert coded_video_bytes(path) == (expected if name.endswith("mp4") else size_bytes)
    fetched = fetch_header(str(path), tmp_path / "copy")
    assert coded_video_bytes(Path(fetched.path)) == coded_video_bytes(path)
