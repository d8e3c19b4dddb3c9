from pathlib import Path

import numpy as np

from actors.local_store import LocalStore


def _bundle(seed):
    return np.arange(3), np.arange(3), np.random.default_rng(seed).integers(0, 256, (1000,), dtype=np.uint8)


def test_what_exceeds_the_memory_waits_on_disk_and_comes_back_equal():
    store = LocalStore(memory_bytes=3_000)
    refs = [store.put(_bundle(seed)) for seed in range(4)]
    assert [ref.path is None for ref in refs] == [True, True, False, False]
    for seed, ref in enumerate(refs):
        for found, expected in zip(store.get(ref), _bundle(seed), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_memory_and_files_come_back_with_the_last_reference():
    store = LocalStore(memory_bytes=1_500)
    first, second = store.put(_bundle(0)), store.put(_bundle(1))
    spilled = Path(second.path)
    assert spilled.exists()
    del second
    assert not spilled.exists()
    del first
    assert store.put(_bundle(2)).path is None
