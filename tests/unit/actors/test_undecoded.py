"""With ``nvdec`` a decoder leaves frames undecoded, and names the very frames that it would have handed on."""

from dataclasses import replace

import numpy as np
import pytest

from actors.decoder import DecoderActor
from actors.local_store import LocalStore
from pipeline.engine.messages.keys import Stage, WorkKey
from pipeline.engine.messages.work import DecodeWork
from pipeline.planning.question_check import QuestionCheck
from pipeline.results.keys import video_fingerprint
from pipeline.settings.config import RunConfig, SamplingConfig
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode import decode_stretch
from pipeline.video.decode_plan import Stretch
from pipeline.video.probe import probe_video
from pipeline.video.slot_table import SlotTable
from pipeline.video.undecoded import Undecoded
from tests.unit.video.numbered_videos import write_numbered


@pytest.fixture
def decode(tmp_path):
    """Decode some frames for two groups; returns what was stored, and what was said."""
    store, made = LocalStore(memory_bytes=10**9), []

    def run(path, decoder):
        config = RunConfig(
            sampling=SamplingConfig(decoder=decoder), reading=ReadingConfig(cache_dir=str(tmp_path / "cache"))
        )
        actor = DecoderActor(store, plan=None, check=lambda *_: QuestionCheck(), config=config)
        made.append(actor)
        work = DecodeWork(
            key=WorkKey(video_id=0, attempt=1, stage=Stage.DECODE, index=0),
            uri=str(path),
            fingerprint=video_fingerprint(str(path)),
            probe=store.put(probe_video(str(path))),
            stretch=Stretch(frame_indices=np.array([2, 5, 9]), start_gop=0, stop_gop=1, num_frames_to_decode=10),
            slots=SlotTable(
                positions=(4, 7),
                starts=np.array([0, 3, 4]),
                slots=np.array([0, 1, 2, 6]),
                frames=np.array([2, 9, 9, 5]),
            ),
            size=(64, 96),
            groups_per_bundle=4,
        )
        done = actor.decode(work).result
        return {position: piece for ref in done.bundles.values() for position, piece in store.get(ref).items()}, done

    yield run
    for actor in made:
        actor.close()


def test_what_is_left_names_the_frames_that_would_have_been_handed_on(tmp_path, decode):
    path = write_numbered(tmp_path / "v.mp4", num_frames=12)
    left, said = decode(path, "nvdec")
    handed_on, _ = decode(path, "pyav")
    assert left.keys() == handed_on.keys() == {4, 7}
    assert (said.decoder, said.sandbox, said.num_frames_decoded, said.notes) == ("", "", 0, ())
    assert len({undecoded.key for _, _, undecoded in left.values()}) == 1
    for position, (slots, rows, undecoded) in left.items():
        expected_slots, expected_rows, pixels = handed_on[position]
        assert isinstance(undecoded, Undecoded)
        assert undecoded.num_bytes == 3 * 64 * 96 * 3
        np.testing.assert_array_equal(slots, expected_slots)
        probe = replace(probe_video(str(path)), path=str(path))
        decoded = decode_stretch(probe, undecoded.frame_indices, size=undecoded.size).frames
        np.testing.assert_array_equal(decoded[rows], pixels[expected_rows])


def test_what_nvdec_is_not_given_comes_as_pixels_and_the_log_says_why(tmp_path, decode):
    path = write_numbered(tmp_path / "v.mp4", num_frames=12, codec="mpeg4")
    pieces, said = decode(path, "nvdec")
    assert all(isinstance(pixels, np.ndarray) for _, _, pixels in pieces.values())
    assert said.decoder == "pyav"
    assert said.notes == ("NVDEC is given av1, libdav1d, h264, hevc, vp8, vp9, not mpeg4: read by PyAV",)
