"""Settings of the frame store: what of them identifies an answer."""

import pytest

from pipeline.settings.config import RunConfig
from pipeline.settings.reading import apply_overrides, config_hash
from pipeline.settings.sources import FrameStoreConfig


def hash_of(**store):
    return config_hash(RunConfig(frame_store=FrameStoreConfig(**store)), model_revision="r")


def test_a_lossless_store_changes_no_key_and_high_quality_does():
    assert hash_of(uri="/a", max_bytes=5) == hash_of(uri="s3://b/c") == hash_of()
    assert hash_of(uri="/a", quality="high") == hash_of(uri="/b", quality="high") != hash_of()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_store.quality": "high"}, "frame_store.quality must be 'lossless' without frame_store.uri"),
        ({"frame_store.uri": "https://host/frames"}, "frame_store.uri must be a folder or s3://bucket/prefix"),
        ({"frame_store.uri": ""}, "frame_store.uri must be a folder"),
        ({"frame_store.max_bytes": 0}, "frame_store.max_bytes must be at least 1"),
    ],
)
def test_a_store_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        apply_overrides(RunConfig(), settings)
