"""Frames by the GPU's own decoder, through torchcodec: they are tensors on the device, and stay there.

Not run on a GPU yet. NVDEC converts to RGB by other routines than FFmpeg's, and torch scales here, as torchcodec's own
resizing is for the CPU only: pixels are close to PyAV's, not equal (docs/video.md), and may depend on the driver. Which
pictures NVDEC had to patch up it does not tell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.video.backends.interface import DecodeReport, Images, IntArray, RefusedError
from pipeline.video.backends.torchcodec_backend import compare_times, first_line
from pipeline.video.decode_plan import frames_to_decode
from pipeline.video.probe import VideoProbe

if TYPE_CHECKING:
    from torch import Tensor

CODECS = ("av1", "libdav1d", "h264", "hevc", "vp8", "vp9")  # as PyAV calls them
SESSIONS = 4
"""Videos, or stretches of one, that a scorer decodes at once: a data centre's GPU has three to seven such engines."""
CHUNK_BYTES = 32 * 1024**2
SESSION_BYTES = 640 * 1024**2
"""Of one decoder: 20 surfaces of 2160p, a chunk of pictures at the video's size, and two forms of it in float32."""


def refusal_of(probe: VideoProbe) -> str | None:
    """Why a video is not for NVDEC, as far as its timeline tells; the same on every machine."""
    if probe.codec not in CODECS:
        return f"NVDEC is given {', '.join(CODECS)}, not {probe.codec}"
    if probe.bit_depth > 8:
        return f"NVDEC is given 8 bits, not {probe.bit_depth}"
    if probe.is_mirrored or probe.rotation == 180:
        return "a mirrored picture, or one on its head, has the size of one that is not"
    if probe.rotation and probe.pixel_aspect != 1:
        return "pixels that are not square are not turned"
    if len(probe.packet_pts):
        return "its times had to be mended, and torchcodec reads those of the file"
    return None


class DeviceDecoder:
    """One open video, on one GPU; for one thread.

    Raises:
        RefusedError: it must not or cannot be read here.
    """

    def __init__(self, probe: VideoProbe, device: str) -> None:
        refusal = refusal_of(probe)
        if refusal is not None:
            raise RefusedError(refusal)
        try:
            decoders = import_module("torchcodec.decoders")
        except (ImportError, OSError, RuntimeError) as error:
            reason = f"torchcodec cannot be loaded ({first_line(error)})"
            raise RefusedError(f"{reason}; install the wheel that suits torch and CUDA, and FFmpeg") from error
        self._probe, self._device = probe, device
        with _explained(), decoders.set_cuda_backend("beta"):  # NVDEC itself, the default since 0.12
            self._decoder: Any = decoders.VideoDecoder(probe.path, dimension_order="NCHW", device=device)
            self._check_fallback()
        if len(self._decoder) != probe.num_frames:
            raise RefusedError(f"torchcodec counts {len(self._decoder)} frames, the probe {probe.num_frames}")

    def read(self, frame_indices: IntArray, size: tuple[int, int]) -> "Tensor":
        """``(n, height, width, 3)`` uint8 on the device, upright; the host waits for nothing that is queued there.

        Raises:
            RefusedError: NVDEC failed, or disagrees with the probe.
            MemoryError: the GPU's memory does not suffice, which says nothing about the video.
        """
        import torch

        step = max(1, CHUNK_BYTES // (self._probe.height * self._probe.width * 3))
        frames = torch.empty((len(frame_indices), *size, 3), dtype=torch.uint8, device=self._device)
        for start in range(0, len(frame_indices), step):
            chunk = frame_indices[start : start + step]
            with _explained():
                batch = self._decoder.get_frames_at(chunk.tolist())
            self._check_fallback()
            compare_times(batch.pts_seconds, self._probe, chunk)
            self._check_size(batch.data)
            frames[start : start + len(chunk)] = resize_frames(batch.data, size)
        return frames

    def _check_fallback(self) -> None:
        """What NVDEC cannot read torchcodec would decode on the CPU, in this process."""
        if self._decoder.cpu_fallback:
            raise RefusedError(f"NVDEC does not read it ({self._decoder.cpu_fallback})")

    def _check_size(self, frames_NCHW: "Tensor") -> None:
        found, expected = tuple(frames_NCHW.shape[2:]), (self._probe.height, self._probe.width)
        if self._probe.pixel_aspect == 1 and found != expected:
            raise RefusedError(f"torchcodec shows {found[0]} x {found[1]} pixels, the probe {expected}")


def decode_with_nvdec(probe: VideoProbe, frame_indices: IntArray, frames: Images) -> DecodeReport:
    """Fill ``frames`` as ``interface.DecodeFrames`` says: the same pixels, copied to the host.

    Raises:
        RefusedError: as ``DeviceDecoder``; or there is no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise RefusedError("nvdec needs an NVIDIA GPU, and this process sees none")
    height, width = frames.shape[1:3]
    frames[:] = DeviceDecoder(probe, "cuda").read(frame_indices, (height, width)).cpu().numpy()
    return DecodeReport(num_frames_decoded=frames_to_decode(probe, frame_indices))


def resize_frames(frames_NCHW: "Tensor", size: tuple[int, int]) -> "Tensor":
    """uint8 to ``(n, height, width, 3)``, by a bilinear filter as wide as what it shrinks, as FFmpeg's is."""
    import torch

    if tuple(frames_NCHW.shape[2:]) != size:
        scaled = torch.nn.functional.interpolate(frames_NCHW.float(), size, mode="bilinear", antialias=True)
        frames_NCHW = (scaled + 0.5).floor().clamp(0, 255).to(torch.uint8)
    return frames_NCHW.permute(0, 2, 3, 1).contiguous()


@contextmanager
def _explained() -> Iterator[None]:
    """A video that fails is refused; a device that does is another matter."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        if "out of memory" in str(error).lower():
            raise MemoryError(f"NVDEC: {first_line(error)}") from error
        if "CUDA error:" in str(error):
            raise
        raise RefusedError(f"NVDEC failed: {first_line(error)}") from error
