"""Choose the device and number format for the network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from fewpick.errors import InputError
from fewpick.network.gpu import has_gpu

logger = logging.getLogger(__name__)

CPUINFO = Path("/proc/cpuinfo")
# Processors with these flags multiply bfloat16 in hardware; others emulate it, slowly.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def select_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`; `auto` uses CUDA if available.

    Raises
    ------
    InputError
        If `cuda` is requested and not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and has_gpu():
            logger.warning(
                "PyTorch %s, built for CUDA %s, cannot use this machine's GPU, possibly because "
                "the driver is too old (see nvidia-smi). Running on the CPU. Update the driver, "
                "or install a PyTorch built for the driver's CUDA version.",
                torch.__version__,
                torch.version.cuda,
            )
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "resources.device is 'cuda', but PyTorch finds no CUDA GPU on this machine. "
            "Set it to auto or cpu, or run on a machine with a GPU."
        )
    # Full precision unless autocast lowers it, so that a GPU finds the same peaks as a CPU.
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    return torch.device(name)


def inference_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the number format for inference.

    Parameters
    ----------
    precision : `float32`, or `auto`: bfloat16 on a CPU that multiplies it in hardware
    device : where the network runs; a GPU always uses float32
    """
    if precision == "auto" and device.type == "cpu" and _multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32


@cache
def _multiplies_bfloat16() -> bool:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not BFLOAT16_FLAGS.isdisjoint(flags.split())


@contextmanager
def report_gpu_errors() -> Iterator[None]:
    """Report a GPU that runs out of memory, fails or disappears as a one-line error.

    Raises
    ------
    InputError
        Instead of PyTorch's exception.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"resources.device: the GPU's memory is full ({_first_line(error)}) Run fewer jobs on "
            "it at a time (--resources gpu=1), or lower training.batch_size and "
            "fixmatch.unlabeled_batch_size."
        ) from error
    except torch.AcceleratorError as error:
        raise InputError(
            f"resources.device: the GPU failed ({_first_line(error)}). Check nvidia-smi; "
            "rerunning the same command resumes from the last checkpoint, on the CPU if "
            "resources.device is auto and no GPU is found."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
