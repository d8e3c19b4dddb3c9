"""A CUDA context that breaks: one call fails, and from then on every call of the process does, as on a real device."""

import sys
from types import FrameType

import torch

MESSAGE = (
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported at some "
    "other API call, so the stacktrace below might be incorrect."
)
KERNEL, UPLOAD, DOWNLOAD, WAIT, EVENT = "kernel", "upload", "download", "wait", "event"


class Breakage:
    """Sound until a call of the armed kind is made inside the armed function.

    Attributes:
        is_broken: whether the context is lost; ``num_refused``: calls that have failed because of it.
    """

    def __init__(self) -> None:
        self._kind, self._inside, self._is_late, self._num_left = "", "", False, 0
        self.is_broken, self.num_refused = False, 0

    def arm(self, kind: str, *, inside: str, after: int = 0, is_late: bool = False) -> None:
        """Break at the next call of ``kind`` below a function of that qualified name, ``after`` so many of them.

        Args:
            kind: of call.
            inside: ``FrameUpload.__init__``.
            after: calls that go well before.
            is_late: what fails is a queued kernel: it is told by the next call that waits.
        """
        self._kind, self._inside, self._num_left, self._is_late = kind, inside, after, is_late

    def meet(self, kind: str) -> None:
        """Before every call of the device.

        Raises:
            torch.AcceleratorError: The context is lost.
        """
        if not self.is_broken:
            if kind != self._kind or not _is_below(self._inside):
                return
            self._num_left -= 1
            if self._num_left >= 0:
                return
            self.is_broken = True
        if self._is_late and not self.num_refused and kind != WAIT:
            return
        self.num_refused += 1
        raise torch.AcceleratorError(MESSAGE)


def _is_below(name: str) -> bool:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_qualname == name:
            return True
        frame = frame.f_back
    return False
