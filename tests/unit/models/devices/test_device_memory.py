import pytest
import torch

from pipeline.failures import FailureClass, PipelineError
from pipeline.models.devices import memory as device_memory
from pipeline.models.devices.map import place_layers
from pipeline.models.devices.memory import check_memory, free_bytes
from pipeline.models.devices.memory_plan import MemoryNeed

GIB = 1024**3


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GiB available, whose control group can be written."""
    monkeypatch.setattr(device_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(device_memory, "_CGROUP", tmp_path)
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {8 * 1024**2} kB\nBuffers: 5 kB\n")
    return tmp_path


def test_memory_of_the_machine_is_what_the_kernel_calls_available(machine):
    assert free_bytes("cpu") == 8 * GIB


@pytest.mark.parametrize(("limit", "free"), [("6442450944", 6 * GIB - 2 * GIB + GIB), ("max", 8 * GIB)])
def test_a_container_has_what_its_limit_leaves_with_its_page_cache(machine, limit, free):
    (machine / "memory.max").write_text(limit + "\n")
    (machine / "memory.current").write_text(f"{2 * GIB}\n")
    (machine / "memory.stat").write_text(f"anon 1\ninactive_file {GIB}\n")
    assert free_bytes("cpu") == free


def test_a_system_that_does_not_say_has_no_number(machine):
    (machine / "meminfo").unlink()
    assert free_bytes("cpu") is None
    check_memory("m", a_need(), place_layers(a_need(), 1), ["cpu"])


def a_need(*, gib_per_layer=20):
    return MemoryNeed(
        first_bytes=10 * GIB,
        layer_bytes=(gib_per_layer * GIB,) * 4,
        last_bytes=10 * GIB,
        vision_bytes=0,
        text_bytes=0,
        weight_bytes=90 * GIB,
    )


def refuse(need, devices):
    with pytest.raises(PipelineError) as caught:
        check_memory("some/model", need, place_layers(need, len(devices)), devices)
    assert caught.value.failure_class is FailureClass.OUT_OF_MEMORY
    return caught.value.message


def test_a_model_larger_than_this_machine_is_refused_with_both_numbers_and_a_remedy(machine):
    message = refuse(a_need(), ["cpu"])
    assert "model 'some/model' needs about 100.0 GiB on cpu (all its weights take 90.0 GiB" in message
    assert "but 8.0 GiB are free; free memory, or use model.dtype=bfloat16" in message


@pytest.fixture
def gpus(monkeypatch):
    """GPUs with this many GiB free, by number."""
    free = {}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device] * GIB, 139 * GIB))
    return free


def test_a_gpu_that_is_too_small_names_how_many_it_takes(gpus):
    gpus["cuda:0"] = 60
    assert "needs about 100.0 GiB on cuda:0 (" in refuse(a_need(), ["cuda:0"])
    assert "60.0 GiB are free; set execution.gpus_per_scorer=2, or use " in refuse(a_need(), ["cuda:0"])


def test_gpus_on_which_no_layer_fits_need_other_gpus(gpus):
    gpus["cuda:0"] = 25
    assert "use GPUs with more free memory, model.dtype=bfloat16" in refuse(a_need(), ["cuda:0"])


def test_each_device_is_compared_with_its_own_share(gpus):
    gpus.update({"cuda:0": 60, "cuda:1": 60})
    check_memory("m", a_need(), place_layers(a_need(), 2), ["cuda:0", "cuda:1"])
    gpus["cuda:1"] = 40
    assert "needs about 50.0 GiB on cuda:1 as one of 2 devices" in refuse(a_need(), ["cuda:0", "cuda:1"])
