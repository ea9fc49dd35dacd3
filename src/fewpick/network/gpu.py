"""Detect a GPU without importing PyTorch, which takes seconds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


def has_gpu(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this machine has an NVIDIA GPU that the installed PyTorch can use.

    Parameters
    ----------
    root : Path
        Root of the file system.
    environment : mapping
        Environment variables; CUDA_VISIBLE_DEVICES may hide the GPUs.
    """
    return has_driver(root) and not _hidden(environment) and _built_for_cuda()


def has_driver(root: Path = Path("/")) -> bool:
    """Return whether there is a driver for an NVIDIA GPU.

    Under WSL2 the GPU is a Windows device (/dev/dxg), and the driver a library from Windows.
    """
    if (root / "dev/nvidiactl").exists():
        return True
    library = root / "usr/lib/wsl/lib"
    return (root / "dev/dxg").exists() and any(library.glob("libcuda.so*"))


def _hidden(environment: Mapping[str, str]) -> bool:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    # CUDA ignores everything from the first invalid entry on.
    return visible is not None and visible.split(",")[0].strip() in ("", "-1", "NoDevFiles")


def _built_for_cuda() -> bool:
    """Return whether the installed PyTorch is built for CUDA; assume so if none is installed."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return True
    version = Path(spec.origin).with_name("version.py")
    if not version.is_file():
        return True
    return not re.search(r"^cuda\b.*= None$", version.read_text("utf-8"), flags=re.MULTILINE)
