"""Frames are numbered within a group; nothing else tells of time."""


def test_time_between_frames_changes_nothing_because_positions_only_count(case, features, prefix):
    prompts = case.prompts(case.adapter)
    other = case.adapter.prefill(features, case.geometry, patch_s=100.0)
    first, second = (case.score(p, prompts) for p in (prefix, other))
    assert [response.entropies for response in first] == [response.entropies for response in second]
