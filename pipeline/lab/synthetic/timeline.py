"""Which objects a synthetic long video shows, and when. Pure planning: no pixels, no questions.

Every shape of a video has one role, so that nothing asked about is ever a distractor:

- needle: appears once, for a stated number of sampled frames;
- pair: two needles of one shape in two colours, anywhere in the video (their order is asked);
- series: appears two to four times, each time in another colour than the time before (last value and count are asked of
  these); its events last a stated share of the video;
- absent: never appears;
- distractor: appears for as long as a needle does, as often as the density says, and is never asked about.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.scenes import COLORS, SHAPES

NUM_NEEDLES, NUM_PAIRS, NUM_SERIES, NUM_ABSENT = 2, 2, 2, 1  # of eight shapes; the last one is the distractor
FEWEST_APPEARANCES, MOST_APPEARANCES = 2, 4  # of a series
MIN_GAP_FRAMES = 4  # free frames between two objects, of whatever shape
_SHORTEST_VIDEO_PER_NEEDLE = 16  # a needle is never longer than this part of its video
_COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineSpec:
    """How long and how often objects appear; ``*_frames`` count sampled frames, ranges include both ends."""

    needle_frames: tuple[int, int] = (4, 64)
    event_share: tuple[float, float] = (1 / 32, 1.2 / 32)  # nearly every interleaved group of 64 frames shows each
    distractor_density: float = 0.06

    def __post_init__(self) -> None:
        shortest, longest = self.needle_frames
        if not 1 <= shortest <= longest:
            raise ValueError(f"needle_frames must be 1 <= shortest <= longest, got {self.needle_frames}")
        if not 0 < self.event_share[0] <= self.event_share[1] < 1:
            raise ValueError(f"event_share must be 0 < smallest <= largest < 1, got {self.event_share}")
        if not 0 <= self.distractor_density <= 0.5:
            raise ValueError(f"distractor_density must be in [0, 0.5], got {self.distractor_density}")

    def needle_range(self, num_frames: int) -> tuple[int, int]:
        """Shortest and longest needle of one video: at most a sixteenth of it."""
        longest = min(self.needle_frames[1], num_frames // _SHORTEST_VIDEO_PER_NEEDLE)
        return self.needle_frames[0], longest

    def event_range(self, num_frames: int) -> tuple[int, int]:
        """Shortest and longest event of a series in one video, in sampled frames."""
        shortest, longest = (max(2, round(share * num_frames)) for share in self.event_share)
        return shortest, longest

    def check_room(self, num_frames: int) -> None:
        """Raise unless even the fullest timeline fits.

        Raises:
            ValueError: If the video is too short for these durations.
        """
        shortest, longest = self.needle_range(num_frames)
        if longest < shortest:
            raise ValueError(
                f"num_frames must be at least {_SHORTEST_VIDEO_PER_NEEDLE * shortest} for needles of {shortest} "
                f"frames, got {num_frames}; use longer videos or shorter needles"
            )
        distractor_frames = int(self.distractor_density * num_frames)
        num_distractors = -(-distractor_frames // shortest)
        num_needles = NUM_NEEDLES + 2 * NUM_PAIRS
        num_events = num_needles + NUM_SERIES * MOST_APPEARANCES + num_distractors
        most = NUM_SERIES * MOST_APPEARANCES * self.event_range(num_frames)[1]
        most += num_needles * longest + distractor_frames + longest + MIN_GAP_FRAMES * num_events
        if most > num_frames:
            raise ValueError(
                f"a video of {num_frames} frames may need {most} for its objects; use longer videos, a smaller "
                f"event_share than {self.event_share}, shorter needles or fewer distractors"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One object in view, in the sampled frames ``[start_frame, end_frame)``."""

    shape: str
    color: str
    start_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """What one video shows: the role of every shape, and all events by time."""

    num_frames: int
    needles: tuple[str, ...]
    pairs: tuple[str, ...]
    series: tuple[str, ...]
    absent: tuple[str, ...]
    events: tuple[Event, ...]

    def of_shape(self, shape: str) -> tuple[Event, ...]:
        """All events of one shape, by time."""
        return tuple(event for event in self.events if event.shape == shape)


def draw_timeline(rng: np.random.Generator, spec: TimelineSpec, num_frames: int) -> Timeline:
    """Draw roles, durations, places in time and colours; any arrangement of the events is equally likely.

    Raises:
        ValueError: As ``TimelineSpec.check_room``.
    """
    spec.check_room(num_frames)
    names = [str(shape) for shape in rng.permutation(SHAPES)]
    sizes = np.cumsum([NUM_NEEDLES, NUM_PAIRS, NUM_SERIES, NUM_ABSENT])
    needles, pairs, series, absent, distractors = np.split(np.array(names), sizes)
    short = np.concatenate([needles, np.repeat(pairs, 2)])
    shapes, lengths = _draw_durations(rng, spec, num_frames, needles=short, series=series, distractors=distractors)
    order = rng.permutation(len(shapes))
    starts = draw_starts(rng, lengths[order], num_frames)
    events: list[Event] = []
    color_of: dict[str, str] = {}
    for index, start in zip(order, starts, strict=True):
        shape = str(shapes[index])
        colors = [color for color in _COLOR_NAMES if color != color_of.get(shape)]
        color_of[shape] = str(rng.choice(colors))
        end = int(start + lengths[index])
        events.append(Event(shape=shape, color=color_of[shape], start_frame=int(start), end_frame=end))
    return Timeline(
        num_frames=num_frames,
        needles=tuple(needles.tolist()),
        pairs=tuple(pairs.tolist()),
        series=tuple(series.tolist()),
        absent=tuple(absent.tolist()),
        events=tuple(events),
    )


def _draw_durations(
    rng: np.random.Generator,
    spec: TimelineSpec,
    num_frames: int,
    *,
    needles: NDArray[np.str_],
    series: NDArray[np.str_],
    distractors: NDArray[np.str_],
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Shape and length of every event, in no order of time; ``needles`` has a shape once for every needle of it."""
    needle_range, event_range = spec.needle_range(num_frames), spec.event_range(num_frames)
    drawn = [(str(shape), int(rng.integers(needle_range[0], needle_range[1] + 1))) for shape in needles]
    for shape in series:
        for _ in range(int(rng.integers(FEWEST_APPEARANCES, MOST_APPEARANCES + 1))):
            drawn.append((str(shape), int(rng.integers(event_range[0], event_range[1] + 1))))
    frames_left = int(spec.distractor_density * num_frames)
    while frames_left > 0:
        drawn.append((str(rng.choice(distractors)), int(rng.integers(needle_range[0], needle_range[1] + 1))))
        frames_left -= drawn[-1][1]
    return np.array([shape for shape, _ in drawn]), np.array([length for _, length in drawn])


def draw_starts(rng: np.random.Generator, lengths: NDArray[np.int64], num_frames: int) -> NDArray[np.int64]:
    """First frames of events that follow each other in this order; the free frames fall anywhere between them."""
    taken = lengths + MIN_GAP_FRAMES
    num_free = num_frames - int(taken.sum())
    assert num_free >= 0, "check_room leaves room"
    free_before = np.sort(rng.integers(0, num_free + 1, len(lengths)))
    return np.asarray(free_before + np.cumsum(taken) - taken, dtype=np.int64)
