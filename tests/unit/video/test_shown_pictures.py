"""What is shown is what a player shows: turned, mirrored, stretched, and of the track that is the film."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from pipeline.failures import FailureClass, PipelineError
from pipeline.video.decode import decode_stretch
from pipeline.video.orientation import display_size
from pipeline.video.probe import probe_video
from tests.unit.video.numbered_videos import numbers_of, paint_number, write_numbered
from tests.unit.video.odd_videos import decode_sequentially

ONE = 1 << 16
ORIENTATIONS = {  # a b c d of the matrix: (x, y) is shown at (ax + cy, bx + dy)
    "as_stored": ((1, 0, 0, 1), lambda image: image),
    "turned_90": ((0, 1, -1, 0), lambda image: np.rot90(image, k=-1)),
    "turned_180": ((-1, 0, 0, -1), lambda image: np.rot90(image, k=2)),
    "turned_270": ((0, -1, 1, 0), lambda image: np.rot90(image, k=1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "flipped": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transversed": ((0, -1, -1, 0), lambda image: np.rot90(image, k=2).transpose(1, 0, 2)),
}


def set_matrix(path, a, b, c, d):
    """Write the display matrix of an mp4's only track."""
    content = bytearray(Path(path).read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    matrix = np.array([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30], dtype=">i4")
    content[at : at + 36] = matrix.tobytes()
    Path(path).write_bytes(content)
    return str(path)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_display_matrix_is_obeyed(tmp_path, name):
    matrix, show = ORIENTATIONS[name]
    plain = write_numbered(tmp_path / "plain.mp4", num_frames=20)
    _, stored = decode_sequentially(plain)
    path = set_matrix(write_numbered(tmp_path / f"{name}.mp4", num_frames=20), *matrix)
    probe = probe_video(path)
    found = decode_stretch(probe, np.arange(20)).frames
    np.testing.assert_array_equal(found, np.stack([show(image) for image in stored]))
    assert (probe.height, probe.width) == found.shape[1:3]
    small = decode_stretch(probe, np.arange(20), size=(probe.height // 2, probe.width // 2)).frames
    assert np.abs(small.astype(int) - found[:, ::2, ::2]).mean() < 10


@pytest.mark.parametrize("backend", ["decord", "torchcodec"])
def test_what_does_not_mirror_refuses_a_mirrored_video(tmp_path, backend):
    path = set_matrix(write_numbered(tmp_path / "mirrored.mp4", num_frames=20), -1, 0, 0, 1)
    with pytest.raises(PipelineError, match="does not mirror") as caught:
        decode_stretch(probe_video(path), np.arange(3), backend=backend)
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA


def test_a_matrix_of_another_angle_leaves_the_picture_as_it_is(tmp_path):
    path = set_matrix(write_numbered(tmp_path / "askew.mp4", num_frames=20), 0.7071, 0.7071, -0.7071, 0.7071)
    probe = probe_video(path)
    assert (probe.rotation, probe.is_mirrored) == (0, False)
    assert numbers_of(probe) == list(range(20))


def write_stretched(path, aspect, **options):
    """Pixels that are not square, as container and codec say."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(options.get("codec", "libx264"), rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(paint_number(index, width=160, height=96), format="rgb24")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "flv", "avi"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(16, 15), (171, 96)),
        (Fraction(64, 45), (228, 96)),
        (Fraction(8, 9), (160, 108)),
        (Fraction(1), (160, 96)),
    ],
)
def test_pixels_that_are_not_square_are_stretched_to_what_is_shown(tmp_path, suffix, aspect, size):
    probe = probe_video(write_stretched(tmp_path / f"stretched.{suffix}", Fraction(aspect)))
    assert (probe.width, probe.height) == size
    assert numbers_of(probe) == list(range(12))
    assert decode_stretch(probe, np.arange(2)).frames.shape == (2, *size[::-1], 3)


def test_a_stretched_picture_that_is_turned_is_stretched_first():
    assert display_size(720, 576, 90, Fraction(16, 15)) == (576, 768)


def test_an_absurd_pixel_aspect_is_taken_for_a_mistake(tmp_path):
    assert probe_video(write_stretched(tmp_path / "absurd.mp4", Fraction(200, 1))).width == 160


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_a_picture_before_the_film_is_passed_over(tmp_path, suffix):
    path = tmp_path / f"cover.{suffix}"
    with av.open(str(path), "w") as out:
        cover, film = out.add_stream("mjpeg", rate=25), out.add_stream("libx264", rate=25)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        film.width, film.height, film.pix_fmt = 160, 96, "yuv420p"
        cover.disposition, film.disposition = Disposition.default, Disposition(0)
        picture = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 90, dtype=np.uint8), format="rgb24")
        picture.pts = 0
        out.mux(cover.encode(picture))
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(paint_number(index, width=160, height=96), format="rgb24")
            frame.pts = index
            out.mux(film.encode(frame))
        out.mux(cover.encode())
        out.mux(film.encode())
    probe = probe_video(str(path))
    assert numbers_of(probe) == list(range(30))
    assert probe.warnings == ("its track 0 holds one picture only; track 1 is taken for the film",)


def test_a_video_of_one_picture_alone_is_answered_for(tmp_path):
    probe = probe_video(write_numbered(tmp_path / "one.mov", codec="mjpeg", b_frames=0, num_frames=1))
    assert (probe.num_frames, probe.warnings) == (1, ())


def encrypt(source, target):
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 15 + "01", "encryption_kid": "00" * 15 + "02"}
    with av.open(source) as read, av.open(str(target), "w", options=key) as out:
        copy = out.add_stream_from_template(read.streams.video[0])
        for packet in (packet for packet in read.demux(video=0) if packet.size):
            packet.stream = copy
            out.mux(packet)
    return str(target)


def scramble(source, target):
    """Set the marks of scrambling on every packet of a transport stream that carries pictures, and spoil them."""
    content = bytearray(Path(source).read_bytes())
    for at in range(0, len(content), 188):
        if content[at + 1] & 31 == 1 and content[at + 2] == 0:  # the first track's
            content[at + 3] |= 0x80
            content[at + 8 : at + 188] = bytes(byte ^ 0xA5 for byte in content[at + 8 : at + 188])
    Path(target).write_bytes(content)
    return str(target)


@pytest.mark.parametrize(("protect", "suffix"), [(encrypt, "mp4"), (encrypt, "mov"), (scramble, "ts")])
def test_an_encrypted_video_is_refused_as_encrypted(tmp_path, protect, suffix):
    path = protect(write_numbered(tmp_path / f"plain.{suffix}"), tmp_path / f"encrypted.{suffix}")
    with pytest.raises(PipelineError, match="is encrypted; point the manifest at a copy without") as caught:
        probe_video(path)
    assert caught.value.failure_class is FailureClass.UNSUPPORTED_MEDIA
    assert "copy it again" not in caught.value.message


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_damage_is_not_taken_for_encryption(tmp_path, suffix):
    path = Path(write_numbered(tmp_path / f"damaged.{suffix}"))
    noise = np.random.default_rng(0).integers(0, 256, 2_000_000, dtype=np.uint8).tobytes()
    path.write_bytes(path.read_bytes()[:700] + noise)
    with pytest.raises(PipelineError) as caught:
        probe_video(str(path))
    assert "encrypted" not in caught.value.message
