"""What a run's decoding processes will be confined by, before any work starts."""

from pipeline.failures import PipelineError
from pipeline.settings.sources import ReadingConfig
from pipeline.video.decode_child import try_sandbox


def check_sandbox(reading: ReadingConfig) -> None:
    """Try one on this machine, and say in the log which layers it has and which the kernel refuses.

    Raises:
        ValueError: ``reading.sandbox=require``, and there is not enough of it here.
    """
    if reading.sandbox == "off":
        return
    try:
        try_sandbox(reading)
    except PipelineError as error:
        raise ValueError(error.message) from error
