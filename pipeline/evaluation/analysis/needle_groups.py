"""Which groups of a video show what a question asks for, by the manifest's times.

Shape suffix: G = groups that counted, in visiting order; F = sampled frames
"""

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.analysis.asked_questions import AskedQuestion
from pipeline.method.grouping import plan_groups

_TOLERANCE_S = 1e-6


def events_seen(question: AskedQuestion, *, frames_per_patch: int) -> npt.NDArray[np.int64]:
    """``(G,)`` how many of the question's events are on at least one sampled frame of each group.

    Frames are taken to lie evenly over the video, as sampling puts them; groups to be interleaved.
    """
    num_patches = -(-question.num_frames // frames_per_patch)
    groups = plan_groups(num_patches, num_groups=question.num_groups, grouping="interleaved")
    group_of_patch = np.empty(num_patches, dtype=np.int64)
    for index, patches in enumerate(groups):
        group_of_patch[patches] = index
    seen = np.zeros(question.num_groups, dtype=np.int64)
    frame_s_F = np.arange(question.num_frames) * (question.duration_s / question.num_frames)
    for start_s, end_s in question.references or ():
        shows_F = (frame_s_F >= start_s - _TOLERANCE_S) & (frame_s_F < end_s - _TOLERANCE_S)
        seen[np.unique(group_of_patch[np.flatnonzero(shows_F) // frames_per_patch])] += 1
    return seen[question.group_index_G]
