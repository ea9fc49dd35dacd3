"""Whether there is a GPU: by files, and never otherwise than PyTorch would say."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fewpick.network import device, gpu


@pytest.fixture
def cuda_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_built_for_cuda", lambda: True)


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


@pytest.mark.usefixtures("cuda_build")
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], False),
        (["dev/nvidiactl"], True),
        (["dev/dxg", "usr/lib/wsl/lib/libcuda.so.1"], True),
        (["dev/dxg"], False),  # WSL2 on a machine without an NVIDIA GPU
    ],
)
def test_by_the_files_of_the_driver(tmp_path: Path, files: list[str], found: bool) -> None:
    assert gpu.has_gpu(put(tmp_path, *files), {}) == found


@pytest.mark.usefixtures("cuda_build")
@pytest.mark.parametrize(
    ("visible", "found"), [("", False), ("-1", False), ("0", True), ("1,0", True), ("-1,0", False)]
)
def test_hidden_ones_do_not_count(tmp_path: Path, visible: str, found: bool) -> None:
    root = put(tmp_path, "dev/nvidiactl")
    assert gpu.has_gpu(root, {"CUDA_VISIBLE_DEVICES": visible}) == found


def test_a_build_without_cuda_can_use_none(tmp_path: Path) -> None:
    assert gpu._built_for_cuda() == (torch.version.cuda is not None)
    root = put(tmp_path, "dev/nvidiactl")
    assert gpu.has_gpu(root, {}) == (torch.version.cuda is not None)


def test_this_machine() -> None:
    if torch.cuda.is_available():
        assert gpu.has_gpu()


def test_a_gpu_that_cannot_be_used_is_not_passed_over_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    with caplog.at_level(logging.WARNING):
        assert device.select_device("auto").type == "cpu"
        assert device.select_device("cpu").type == "cpu"
    (record,) = caplog.records
    assert "possibly because the driver is too old" in record.getMessage()
