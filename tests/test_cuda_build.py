"""The choices of `make caffe`, CUDA and SLIM, as far as they can be tried without a build."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from conftest import REPO, run_sjft
from gpus import why_no_gpu
from processes import run

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
LAYERS = """
int main() {
  const sjft::LaneHandles of_convolution;
  const sjft::DefaultHandle of_another;
  const cudnnHandle_t handle = of_another;
  return handle == of_convolution[0] || sjft::Workspace(0, 8) == NULL;
}
"""
# What belongs to a thread and a device, without any device: handles are made when they are used.
THREADS = """
#include <thread>
#define EXPECT(condition) if (!(condition)) { return __LINE__; }
int main() {
  using sjft::Mine;
  sjft::Shared *of_main = &Mine::Of(0), *first = NULL, *first_again = NULL, *other_device = NULL;
  std::thread([&] {
    first = &Mine::Of(0);
    other_device = &Mine::Of(1);
    first_again = &Mine::Of(0);
  }).join();
  EXPECT(&Mine::Of(0) == of_main && first != of_main);
  EXPECT(first_again == first && other_device != first);
  // The next thread has what the first one left; another beside it has not.
  sjft::Shared *next = NULL, *next_other = NULL, *beside = NULL;
  std::thread([&] {
    next = &Mine::Of(0);
    std::thread([&] { beside = &Mine::Of(0); }).join();
    next_other = &Mine::Of(1);
  }).join();
  EXPECT(next == first && next_other == other_device);
  EXPECT(beside != next && beside != of_main);
  EXPECT(next->handles[0] == NULL && next->workspaces[0] == NULL && next->bytes[0] == 0);
  return 0;
}
"""


def script(name: str, cache: Path, status: int = 1, **environment: str) -> str:
    """Run a script of tools/caffe with its cache in `cache`; check its status, return its words."""
    variables = {"SJFT_CACHE": str(cache), "CUDA_HOME": "", **environment}
    return run(TOOLS / name, status=status, **variables)


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
    # PyTorch brings the runtime's headers along, but not those that they include from crt/.
    wanted = (["cudnn.h"], ["cuda_runtime.h", "crt/host_defines.h"])
    found = [
        next((place for place in places if all((place / name).exists() for name in names)), None)
        for names in wanted
    ]
    return [place for place in found if place is not None]


def compile_with(header: str, program: str, folder: Path, *options: str) -> None:
    """Compile `program`, which begins with our `header`; skip the test without cuDNN's own."""
    headers = cudnn_headers()
    if len(headers) < 2:
        pytest.skip("needs the headers of CUDA and cuDNN, as a machine with a GPU has them")
    source = folder / "program.cpp"
    source.write_text(program)
    includes = [f"-I{place}" for place in (TOOLS / "include", *headers)]
    command = ["g++", "-std=c++14", "-include", header, *includes, source, *options]
    run(*command, cwd=folder)


def test_the_headers_compile(tmp_path: Path) -> None:
    compile_with("cuda/cudnn_algorithms.hpp", CONVOLUTIONS, tmp_path, "-fsyntax-only")
    compile_with("cuda/cudnn_shared.hpp", LAYERS, tmp_path, "-fsyntax-only")


def test_threads_share_nothing_while_they_run(tmp_path: Path) -> None:
    compile_with("cuda/cudnn_shared.hpp", THREADS, tmp_path, "-pthread", "-o", "program")
    run(tmp_path / "program")


def nvcc_that(folder: Path, script: str) -> str:
    """Make a toolkit whose nvcc is a shell script; return its folder."""
    (folder / "bin").mkdir()
    (folder / "bin" / "nvcc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "nvcc").chmod(0o755)
    return str(folder)


def test_an_nvcc_that_does_not_start(tmp_path: Path) -> None:
    toolkit = nvcc_that(tmp_path, "echo lost >&2; exit 127")
    said = script("build.sh", tmp_path / "cache", CUDA="1", CUDA_HOME=toolkit)
    assert said == f"build.sh: error: '{toolkit}/bin/nvcc' does not work; try it with --version\n"


def cuda_sh(words: str, folder: Path) -> str:
    """Run `words` in bash after cuda.sh has been sourced; return what they print."""
    sourced = f". {TOOLS}/common.sh; . {TOOLS}/cuda.sh; set -euo pipefail; {words}"
    return run("bash", "-c", sourced, SJFT_CACHE=str(folder), CUDA_HOME="", CUDA_ARCH="")


def test_debians_nvcc_names_the_folder_of_its_program_alone(tmp_path: Path) -> None:
    (tmp_path / "toolkit").mkdir()
    toolkit = nvcc_that(
        tmp_path / "toolkit",
        """case $1 in
        --version) echo "Cuda compilation tools, release 11.8, V11.8.89" ;;
        --list-gpu-arch) printf "compute_%s\\n" 70 75 80 ;;
        *) echo '#$ _HERE_='$(dirname "$0") >&2 ;;
        esac""",
    )
    wrapper = tmp_path / "nvcc"
    wrapper.write_text(f'#!/bin/sh\nexec {toolkit}/bin/nvcc "$@"\n')
    wrapper.chmod(0o755)
    words = "find_libraries() { :; }; check_cudnn() { :; }; find_cuda"
    tell = 'echo "$NVCC $TOOLKIT $NVCC_VERSION $CUDNN_VERSION"'
    said = cuda_sh(f"PATH={tmp_path}:$PATH; {words}; {tell}", tmp_path)
    assert said == f"{toolkit}/bin/nvcc {toolkit} 11.8 9.10\n"


def test_default_architectures_are_those_that_nvcc_knows(tmp_path: Path) -> None:
    words = 'KNOWN="60 70 75 80 86 "; known_of $DEFAULT_ARCH'
    assert cuda_sh(words, tmp_path).split() == ["75", "80", "86"]


@pytest.mark.parametrize(
    ("version", "expected"), [("11.8", "9.10 2.21"), ("12.4", "9.10 2.27"), ("13.0", "9.19 2.28")]
)
def test_older_cuda_takes_an_older_cudnn(version: str, expected: str, tmp_path: Path) -> None:
    words = f'NVCC_VERSION={version}; find_pypi_versions; echo "$CUDNN_VERSION $NCCL_VERSION"'
    assert cuda_sh(words, tmp_path) == f"{expected}\n"


def test_a_library_and_its_header_are_of_one_folder(tmp_path: Path) -> None:
    files = {"old/include/cudnn.h", "new/include/cudnn.h", "new/lib/there/libcudnn.so.9"}
    for file in files | {"lost/lib64/libcudnn.so"}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    words = (
        "CUDA_INCLUDES= CUDA_LIBRARIES= MULTIARCH=there; "
        f"locate_part cudnn cudnn.h {tmp_path}/old {tmp_path}/lost {tmp_path}/new && "
        'echo "$CUDA_INCLUDES $CUDA_LIBRARIES"; '
        f"locate_part cudnn cudnn.h {tmp_path}/old {tmp_path}/lost || echo none"
    )
    new = tmp_path / "new"
    assert cuda_sh(words, tmp_path) == f"{new}/include {new}/lib/there/libcudnn.so.9\nnone\n"


@pytest.mark.parametrize(
    ("cudnn", "architectures", "runs"),
    [
        ((9, 11), "70-real;90", False),
        ((9, 11), "75-real;90", True),
        ((9, 10), "61", True),
        ((9, 2), "70", True),
        ((10, 0), "70", False),
        (None, "70", True),
    ],
)
def test_a_cudnn_that_has_nothing_for_a_gpu(
    cudnn: tuple[int, int] | None, architectures: str, runs: bool, tmp_path: Path
) -> None:
    if cudnn is not None:
        lines = ("#define CUDNN_{} {}\n".format(*pair) for pair in zip(("MAJOR", "MINOR"), cudnn))
        (tmp_path / "cudnn_version.h").write_text("".join(lines) + "#define CUDNN_VERSION 1\n")
    words = f"CUDA_ARCHITECTURES='{architectures}' CUDA_INCLUDES='/usr/include/none;{tmp_path}'"
    said = cuda_sh(f"{words}; (check_cudnn) 2>&1 || true", tmp_path)
    if runs:
        assert said == ""
    else:
        version = "{}.{}".format(*cudnn or ())
        assert f"the cuDNN in {tmp_path} is version {version}, which runs on compute" in said
        assert "not on '70'; put cuDNN 9.10 or older there" in said


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"
    said = script("build.sh", cache)
    assert said == (
        f"build.sh: error: the folder '{cache}', where the built Caffe is kept, cannot be written "
        "to; name another: SJFT_CACHE=DIR\n"
    )


def test_check_of_a_gpu_that_caffe_cannot_use() -> None:
    why = why_no_gpu()
    if not why:
        pytest.skip("needs a Caffe for the CPU, or a machine without a GPU")
    said = run_sjft("check", "--gpu", "0", status=1)
    assert "FAIL  GPU 0: Caffe cannot compute on it: " in said
    if "CPU" in why:
        assert "-> this Caffe was built for the CPU alone: make caffe CUDA=1" in said
    else:
        assert why in said
        assert "-> see whether 'nvidia-smi' lists the GPU: it needs a driver as new as" in said
    run_sjft("check", "--gpu", "-1", status=2)
