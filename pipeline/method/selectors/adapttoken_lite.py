"""AdaptToken-Lite: AdaptToken over the groups visited until enough confident ones agree."""

from collections.abc import Sequence

from pipeline.method.selectors.adapttoken import AdaptToken
from pipeline.method.selectors.base import GroupScore
from pipeline.method.stopping import GroupVote, find_stop
from pipeline.settings.config import StoppingConfig


class AdaptTokenLite(AdaptToken):
    """The full method with an early stop."""

    name = "adapttoken-lite"
    can_stop = True

    def stop_after(self, prefix: Sequence[GroupScore], config: StoppingConfig) -> int | None:
        """At the shortest prefix in which ``confident_groups`` groups are confident and agree."""
        votes = [GroupVote(entropy=score.entropy, response=score.response) for score in prefix]
        return find_stop(votes, confident_groups=config.confident_groups, stop_entropy=config.stop_entropy)
