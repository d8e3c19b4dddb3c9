import sys

from pipeline.lab.benchmarks.decode_speed import DecodeCase, measure_decode
from pipeline.lab.benchmarks.memory import measure_peak
from pipeline.models.loading import describe_model
from pipeline.settings.config import ModelConfig
from pipeline.settings.presets import preset_for


def test_the_front_end_and_its_rivals_read_the_same_video_and_the_count_of_decoded_frames_is_right(tmp_path):
    layout = describe_model(ModelConfig(model="demo")).layout
    config = preset_for("demo", num_layers=layout.num_layers, is_demo=True)
    case = DecodeCase(name="small", encoded_per_sample=3, gop=10, num_samples=130)
    times = measure_decode(case, folder=tmp_path, layout=layout, config=config, repeats=1)
    assert {"decord sequential", "PyAV sequential", "front end, 1 decoder", "front end, 2 decoders"} <= set(
        times.seconds
    )
    assert all(seconds > 0 for seconds in times.seconds.values())
    assert (times.num_wanted, times.num_groups) == (130, 3)
    # every third frame of GOPs of 10: 39 GOPs, of which each is read up to its last wanted frame
    wanted = range(0, 390, 3)
    expected = sum(max(frame for frame in wanted if frame // 10 == gop) % 10 + 1 for gop in range(39))
    assert abs(times.num_decoded - expected) <= 2 * 39  # B-frames: stored and shown order differ by at most two


def test_the_peak_counts_what_a_child_of_the_command_holds():
    grandchild = "x = bytearray(150_000_000); import time; time.sleep(1.5)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}], check=True)"
    peak = measure_peak([sys.executable, "-c", code])
    assert 150_000_000 < peak.peak_bytes < 300_000_000
    assert (peak.exit_code, peak.num_processes) == (0, 2)
