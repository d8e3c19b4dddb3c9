"""What a selector is: which patches are looked at, when a question stops, and what each group may keep.

One file per method, one row in ``registry``. Selectors are stateless; settings reach them as config sections.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.method.selectors.ranking import Float32Array, Ranker
from pipeline.settings.config import BudgetConfig, StoppingConfig

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class GroupScore(NamedTuple):
    """What scoring one group for one question found; a named tuple, because it travels in great numbers.

    Attributes:
        group_index: the group of the video's plan.
        certainty: nats, at most 0; any finite number where the selector needs no scores.
        response: the group's own answer.
        num_tokens: visual tokens the group offers.
        tokens_per_patch: how many of them one temporal patch holds.
        letter_share: what the options' letters have of the response's probability; None where it is not known.
        profile: float32, where the selector compares single tokens or patches of all groups: the best tokens' scores,
            falling, or each patch's largest attention.
    """

    group_index: int
    certainty: float
    response: str
    num_tokens: int
    tokens_per_patch: int = 1
    letter_share: float | None = None
    profile: bytes = b""

    @property
    def entropy(self) -> float:
        """Response entropy in nats: minus the certainty."""
        return 0.0 - self.certainty


class GroupRule(NamedTuple):
    """How a selector wants a video cut into groups; None leaves it to the settings."""

    patches_per_group: int | None = None
    grouping: Literal["interleaved", "contiguous"] | None = None


class VotedAnswer(NamedTuple):
    """What the groups say together.

    Attributes:
        response: of the most certain group that gave the answer.
        shares: normalized response -> its share of the votes.
        entropy: nats, of the shares.
    """

    response: str
    shares: Mapping[str, float]
    entropy: float


class Selector(Protocol):
    """One way to spend a token budget on a video.

    Attributes:
        name: the value of ``method`` in configs and results.
        needs_scores: groups are prefilled and scored; otherwise tokens are only encoded.
        can_stop: a question may end before its last group, so reading ahead may be wasted.
        removes_redundancy: bought tokens pass through redundancy removal, down to ``final_budget``.
        keeps_whole_patches: a group sells temporal patches with all their tokens, ranked by their best token.
        needs_final_pass: what was bought is shown to the model once more; else it is a ``GroupVoting``, whose groups
            answer.
        group_rule: how it wants groups cut.
        settings: what it changes of a model's preset; whatever a user sets stands above it.
        ranks_separators: text that a family puts around each frame is ranked with its tokens, and uses up quota.
        ranker: its own rule of rank; None: attention.
        profile: what ``share_out`` compares across groups: nothing, ``tokens`` or ``patches``.
        label: what its rows stand for, where the method is not ours: the paper, and what differs from it.
    """

    name: str
    needs_scores: bool
    removes_redundancy: bool
    can_stop: bool
    keeps_whole_patches: bool
    needs_final_pass: bool
    group_rule: ClassVar[GroupRule]
    settings: ClassVar[Mapping[str, object]]
    ranks_separators: ClassVar[bool]
    ranker: Ranker | None
    profile: Literal["nothing", "tokens", "patches"]
    label: str

    def refusal(self, num_groups: int, config: BudgetConfig, *, tokens_per_patch: int) -> str | None:
        """Why a video of so many groups cannot be answered, with the remedy; None: it can."""
        ...

    def choose_patches(
        self, num_patches: int, *, tokens_per_patch: int, token_budget: int, keep_ratio: float | None = None
    ) -> IntArray:
        """Ascending indices of the temporal patches to encode, at least one.

        ``keep_ratio``: share of its tokens that each patch keeps, where the selector has such a thing.
        """
        ...

    def stop_after(self, prefix: Sequence[GroupScore], config: StoppingConfig) -> int | None:
        """Groups of the prefix after which the question stops; None to go on.

        A longer prefix never changes a stop, and the last group before it has at most ``stop_entropy``.
        """
        ...

    def allocate(
        self, certainty_G: FloatArray, num_tokens_G: IntArray, config: BudgetConfig, *, tokens_per_patch: int = 1
    ) -> IntArray:
        """``(G,)`` tokens bought from each group of the prefix, at most what it offers.

        A longer prefix raises no share by more than one token.

        Args:
            certainty_G: of each group of the prefix, nats.
            num_tokens_G: visual tokens that each offers.
            config: the budget.
            tokens_per_patch: of this video; counts where whole patches are kept.
        """
        ...

    def allocate_tokens(self, scores_G: Sequence[Float32Array], config: BudgetConfig) -> IntArray:
        """``allocate`` for a selector that compares ``tokens``: by each group's best scores, falling."""
        ...

    def allocate_patches(
        self,
        scores_G: Sequence[Float32Array],
        group_indices: Sequence[int],
        config: BudgetConfig,
        *,
        tokens_per_patch: int,
    ) -> list[IntArray]:
        """``allocate`` for a selector that compares ``patches``: tokens of each patch, once all groups are in.

        Args:
            scores_G: of each group's patches, ascending in time.
            group_indices: which group of the plan each is; patch i of group g of G is patch ``g + i G`` of the video.
            config: the budget.
            tokens_per_patch: of this video.
        """
        ...

    def final_budget(self, config: BudgetConfig) -> int | None:
        """Tokens that remain after removal; None: all that were bought."""
        ...


@runtime_checkable
class GroupHearing(Protocol):
    """What a selector has besides, whose groups have a say in the answer to a question with options."""

    name: str

    def weigh(
        self, probabilities: Sequence[float], prefix: Sequence[GroupScore], letters: Sequence[str]
    ) -> tuple[float, ...]:
        """Probabilities of the options, which sum to 1, after the groups were heard.

        Args:
            probabilities: of the final pass.
            prefix: all groups that count, at least one.
            letters: of the options.
        """
        ...
