"""Values that a setting may not have, alone or beside another."""


def check(is_valid: bool, name: str, value: object, allowed: str) -> None:
    """Raise ``ValueError`` that names the setting, what is allowed and what was found."""
    if not is_valid:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def check_nvdec(sandbox: str, store: str | None, gpus_per_scorer: float | None) -> None:
    """Frames are decoded by the scorer, on its GPU, and stay there.

    Args:
        sandbox: ``reading.sandbox``.
        store: ``frame_store.uri``.
        gpus_per_scorer: None: as many as there are.

    Raises:
        ValueError: names the other setting and why.
    """
    for is_refused, found, why in (
        (sandbox == "require", "reading.sandbox='require'", "the scorer decodes, outside any sandbox"),
        (store is not None, "frame_store.uri (--frame-store)", "frames never leave the GPU"),
        (gpus_per_scorer == 0, "execution.gpus_per_scorer=0", "it takes the scorer's GPU"),
    ):
        if is_refused:
            raise ValueError(f"sampling.decoder 'nvdec' does not go with {found}: {why}; use 'auto', or change that")
