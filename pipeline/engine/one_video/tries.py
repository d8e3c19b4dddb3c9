"""How often pieces of work failed, as evidence against a video or a question; and how long the next try waits.

A piece that somebody has done clears itself: whatever it met before was somebody else's doing. So a kill now and then
never adds up, while a piece that fails for whoever takes it, or a question of which no piece is ever done, does.
"""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.engine.messages.keys import Stage, WorkKey

FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0

_Piece = tuple[Stage, int]


@dataclass(kw_only=True, slots=True, eq=False)
class Tries:
    """Failures and deaths, of pieces that are all charged to the same.

    Attributes:
        num_in_a_row: since a piece was last done.
        of_pieces: since that piece was last done.
        counted_turn: pieces handed out up to this turn fail together with the one that was counted: a node that goes
            with eight workers, a mount that fails for eight decoders, is one failure.
    """

    num_in_a_row: int = 0
    of_pieces: Counter[_Piece] = field(default_factory=Counter)
    counted_turn: int = 0

    def note(self, key: WorkKey, *, last_turn: int) -> int:
        """A piece failed; returns how many failures count by now.

        Args:
            key: the piece.
            last_turn: of the video's work that has been handed out.
        """
        piece = key.stage, key.index
        if key.turn > self.counted_turn:
            self.num_in_a_row += 1
            self.of_pieces[piece] += 1
            self.counted_turn = last_turn
        return max(1, self.num_in_a_row, self.of_pieces[piece])

    def charge(self) -> None:
        """One failure that it had a part in."""
        self.num_in_a_row += 1

    def clear(self, key: WorkKey) -> None:
        """A piece was done."""
        self.num_in_a_row = 0
        self.of_pieces.pop((key.stage, key.index), None)


@dataclass(kw_only=True, slots=True, eq=False)
class Rest:
    """A pause after failures, twice as long each time: ``1 s, 2 s, 4 s, … 60 s``; the clock is the caller's."""

    num_rests: int = 0
    until_s: float = 0.0

    def begin(self, now_s: float) -> None:
        """Something failed; what fails during a pause does not make it longer."""
        if self.until_s <= now_s:
            self.until_s = now_s + min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self.num_rests, 10))
            self.num_rests += 1

    def end(self) -> None:
        """Something was done."""
        self.num_rests, self.until_s = 0, 0.0
