"""What is fast, measured side by side in one run."""

from __future__ import annotations


def describe_machine() -> str:
    """Returns what absolute times depend on: the processor, the version of torch and the threads
    that it uses.
    """
    import torch

    processor = torch.cpu.get_capabilities().get("cpu_name", "unknown processor")
    return f"{processor}; torch {torch.__version__}, {torch.get_num_threads()} threads"
