"""The choices of `make caffe`, CUDA and SLIM, as far as they can be tried without a build."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import REPO, run_sjft

TOOLS = REPO / "tools" / "caffe"
NVCC = shutil.which("nvcc") or next(iter(Path("/usr/local").glob("cuda*/bin/nvcc")), None)
CONVOLUTIONS = """
int main() {
  cudnnHandle_t handle = NULL;
  cudnnTensorDescriptor_t x = NULL, y = NULL;
  cudnnFilterDescriptor_t w = NULL;
  cudnnConvolutionDescriptor_t convolution = NULL;
  cudnnConvolutionFwdAlgo_t forward;
  cudnnConvolutionBwdFilterAlgo_t filter;
  cudnnConvolutionBwdDataAlgo_t data;
  return cudnnGetConvolutionForwardAlgorithm(handle, x, w, convolution, y,
             CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT, 8, &forward) +
         cudnnGetConvolutionBackwardFilterAlgorithm(handle, x, y, convolution, w,
             CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT, 8, &filter) +
         cudnnGetConvolutionBackwardDataAlgorithm(handle, w, y, convolution, x,
             CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT, 8, &data);
}
"""
WORKSPACE = "int main() { return sjft::Workspace(0, 8) == NULL; }"


def script(name: str, cache: Path, status: int = 1, **environment: str) -> str:
    """Run a script of tools/caffe with its cache in `cache`; check its status, return its words."""
    process = subprocess.run(
        [TOOLS / name],
        env={**os.environ, "SJFT_CACHE": str(cache), "CUDA_HOME": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == status, process.stdout
    return process.stdout


@pytest.mark.parametrize("name", ["build.sh", "packages.sh"])
@pytest.mark.parametrize("choice", ["CUDA", "SLIM"])
def test_a_choice_is_one_or_nothing(name: str, choice: str, tmp_path: Path) -> None:
    said = script(name, tmp_path, **{choice: "yes"})
    assert said == f"{name}: error: {choice}='yes': expected {choice}=1, or nothing\n"


def test_a_toolkit_without_nvcc(tmp_path: Path) -> None:
    said = script("build.sh", tmp_path, CUDA="1", CUDA_HOME=str(tmp_path))
    assert said == (
        f"build.sh: error: CUDA_HOME='{tmp_path}' holds no bin/nvcc; name the folder of a CUDA "
        "toolkit\n"
    )


@pytest.mark.skipif(NVCC is None, reason="needs nvcc, as a machine with a GPU has it")
@pytest.mark.parametrize("arch", ["60", "9.5", "90 x", "sm_90"])
def test_an_architecture_that_nvcc_does_not_know(arch: str, tmp_path: Path) -> None:
    said = script("build.sh", tmp_path, CUDA="1", CUDA_ARCH=arch)
    assert "cannot compile for compute capability '" in said and " 90 " in said
    assert list(tmp_path.iterdir()) == []


def test_slim_takes_fewer_packages() -> None:
    slim = (TOOLS / "packages.txt").read_text()
    full = (TOOLS / "packages-full.txt").read_text()
    for name in ("opencv", "hdf5", "leveldb"):
        assert name not in slim and name in full


def cudnn_headers() -> list[Path]:
    """The include folders of cuDNN and the CUDA runtime on this machine."""
    cache = os.environ.get("SJFT_CACHE") or Path.home() / ".cache" / "sjft"
    packages = REPO / "build" / "venv" / "lib"
    places = [
        *Path(cache).glob("cuda-*/nvidia/*/include"),
        *packages.glob("python3*/site-packages/nvidia/*/include"),
        *Path("/usr/local").glob("cuda*/include"),
        Path("/usr/include"),
    ]
    found = [
        next((place for place in places if (place / header).exists()), None)
        for header in ("cudnn.h", "cuda_runtime.h")
    ]
    return [place for place in found if place is not None]


@pytest.mark.parametrize("header", ["cuda/cudnn_algorithms.hpp", "cuda/cudnn_workspace.hpp"])
def test_the_headers_compile(header: str, tmp_path: Path) -> None:
    headers = cudnn_headers()
    if len(headers) < 2:
        pytest.skip("needs the headers of cuDNN, as a machine with a GPU has them")
    source = tmp_path / "program.cpp"
    source.write_text(CONVOLUTIONS if "algorithms" in header else WORKSPACE)
    includes = [f"-I{folder}" for folder in (TOOLS / "include", *headers)]
    command = ["g++", "-std=c++14", "-fsyntax-only", "-include", header, *includes, source]
    subprocess.run(command, check=True)


def test_check_of_a_gpu_by_a_caffe_for_the_cpu() -> None:
    said = run_sjft("check", "--gpu", "0", status=1)
    assert "FAIL  GPU 0: Caffe cannot compute on it: " in said
    assert "-> this Caffe was built for the CPU alone: make caffe CUDA=1" in said
    run_sjft("check", "--gpu", "-1", status=2)
