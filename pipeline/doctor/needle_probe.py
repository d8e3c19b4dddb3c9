"""Shows a few generated pictures with one short needle each: which layer's attention finds it, how sure an answer is.

Far smaller than jobs/lab/probe_layer.py: enough to see that a checkpoint works at all, and to propose where to start.

Shape suffixes: F = frames of a group, P = its temporal patches, N = its visual tokens, L = layers
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.demo.archive import render_frames
from pipeline.demo.scenes import COLORS, HEIGHT, SHAPES, WIDTH, Appearance, place_appearance
from pipeline.doctor.hit_shares import hit_shares
from pipeline.doctor.needles import label_tokens
from pipeline.failures import FailureClass, PipelineError
from pipeline.models.attention_probe import PROBED_ATTENTION, record_layers
from pipeline.models.devices.transfer import Download
from pipeline.models.interface import FrameGeometry, VideoModel, ranking_layers
from pipeline.settings.config import RunConfig

_FRAMES, _NEEDLE_FRAMES, _NUM_OPTIONS, _SEED = 16, 4, 4, 7_001
_TIE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class NeedleFindings:
    """Means over all needles.

    Attributes:
        hit_rate_L: of the k most attended tokens, how many show the needle; k = tokens that do; NaN for layers that
            cannot rank tokens. ``chance`` is that of random attention.
        num_right: needles whose colour was answered right from a group that shows them.
        seen_entropies: of answers about groups that show the needle; ``unseen_entropies`` of those that do not.
    """

    hit_rate_L: tuple[float, ...]
    chance: float
    num_needles: int
    num_right: int
    seen_entropies: tuple[float, ...]
    unseen_entropies: tuple[float, ...]

    @property
    def best_layer(self) -> int:
        """The highest hit rate, the earlier layer in a tie."""
        rates = np.asarray(self.hit_rate_L)
        return int(np.flatnonzero(rates >= np.nanmax(rates) - _TIE)[0])

    @property
    def stop_entropy(self) -> float | None:
        """Half way between sure and unsure answers; None where the model is no surer of what it sees."""
        sure, unsure = float(np.median(self.seen_entropies)), float(np.median(self.unseen_entropies))
        return (sure + unsure) / 2 if sure < unsure else None


def probe_needles(model: VideoModel, config: RunConfig, *, num_needles: int = 6) -> NeedleFindings:
    """Ask for the colour of each needle, of a group that shows it and of the same scenery without it.

    Raises:
        PipelineError: Class ``model``: attention could not be read at every layer, or is no number.
    """
    rng = np.random.default_rng(_SEED)
    sampling = config.sampling
    geometry = model.frame_geometry(HEIGHT, WIDTH, min_pixels=sampling.min_pixels, max_pixels=sampling.max_pixels)
    hits, chances, seen, unseen, num_right = [], [], [], [], 0
    for number in range(num_needles):
        start = int(rng.integers(0, _FRAMES - _NEEDLE_FRAMES + 1))
        shape, color = SHAPES[number % len(SHAPES)], str(rng.choice(list(COLORS)))
        needle = place_appearance(rng, shape=shape, color=color, start_frame=start, num_frames=_NEEDLE_FRAMES)
        others = [str(other) for other in rng.permutation([name for name in COLORS if name != color])]
        options = tuple(str(one) for one in rng.permutation([color, *others[: _NUM_OPTIONS - 1]]))
        scene = int(rng.integers(2**31))
        attention_LN, entropy, option = _ask(model, config, geometry, _draw(scene, [needle]), shape, options)
        shows_N = _label(needle, model.frames_per_patch, geometry)
        hits.append(hit_shares(attention_LN, shows_N, top=int(shows_N.sum())))
        chances.append(float(shows_N.mean()))
        seen.append(entropy)
        num_right += options[option] == color
        unseen.append(_ask(model, config, geometry, _draw(scene, []), shape, options)[1])
    return NeedleFindings(
        hit_rate_L=tuple(np.mean(hits, axis=0).tolist()),
        chance=float(np.mean(chances)),
        num_needles=num_needles,
        num_right=num_right,
        seen_entropies=tuple(seen),
        unseen_entropies=tuple(unseen),
    )


def _draw(scene: int, needles: list[Appearance]) -> npt.NDArray[np.uint8]:
    frames = render_frames(
        np.random.default_rng(scene), needles, num_frames=_FRAMES, scene_frames=(_FRAMES, 10 * _FRAMES)
    )
    return np.stack(list(frames))


def _label(needle: Appearance, frames_per_patch: int, geometry: FrameGeometry) -> npt.NDArray[np.bool_]:
    return label_tokens(needle, np.arange(_FRAMES).reshape(-1, frames_per_patch), geometry)


def _ask(
    model: VideoModel,
    config: RunConfig,
    geometry: FrameGeometry,
    frames_FHW3: npt.NDArray[np.uint8],
    shape: str,
    options: tuple[str, ...],
) -> tuple[npt.NDArray[np.float32], float, int]:
    """Attention ``(L, N)``, entropy of the answer, and the option that was chosen."""
    patch_s = model.frames_per_patch / config.sampling.sample_fps
    features_ND = model.encode(frames_FHW3, geometry, batch_patches=config.scoring.encode_patches)
    centers_s_P = (np.arange(_FRAMES // model.frames_per_patch, dtype=np.float64) + 0.5) * patch_s
    prefix = model.prefill(features_ND, geometry, patch_s=patch_s, center_s_P=centers_s_P)
    prompt = model.build_question(f"What color is the {shape}?", options, response_tokens=1)
    with record_layers() as by_layer:
        (response,) = model.score(prefix, [prompt], config.scoring)
    ranking = list(ranking_layers(model))
    if sorted(by_layer) != ranking:
        raise PipelineError(
            FailureClass.MODEL,
            f"of {len(ranking)} layers {sorted(by_layer)} could be read; the text model must run with the "
            f"attention {PROBED_ATTENTION!r} (see docs/models.md)",
        )
    attention_LN = np.full((model.num_layers, len(response.attention_N)), np.nan, dtype=np.float32)
    attention_LN[ranking] = np.stack(Download(*(by_layer[layer] for layer in ranking)).read())[:, 0]
    if not np.isfinite(attention_LN[ranking]).all() or not np.isfinite(response.entropies[0]):
        raise PipelineError(FailureClass.MODEL, "the output is no number; try model.dtype=float32 or bfloat16")
    assert response.option is not None
    return attention_LN, float(response.entropies[0]), response.option
