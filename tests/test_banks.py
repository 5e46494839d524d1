"""The filter banks against direct filtering, by all backends; what they refuse."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import draw_image
from drawn_banks import random_weights, require, save_npz
from sjft.errors import InputError
from sjft.images import decode_image
from sjft_tools.banks import make_bank
from sjft_tools.banks.bank import warp
from sjft_tools.banks.gabor import HIGHEST_FREQUENCY, LOWEST_FREQUENCY, gabor_kernel


def test_gabor_kernels_follow_the_paper() -> None:
    for scale, frequency in enumerate(np.geomspace(HIGHEST_FREQUENCY, LOWEST_FREQUENCY, 4)):
        for orientation in range(6):
            kernel = gabor_kernel(scale, orientation)
            assert abs(kernel.mean()) < 1e-12
            spectrum = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (512, 512))))
            v, u = (np.array(np.unravel_index(spectrum.argmax(), spectrum.shape)) - 256) / 512
            assert np.hypot(u, v) == pytest.approx(frequency, rel=0.06)
            angle = np.degrees(np.arctan2(v, u)) % 360
            assert (angle - 30 * orientation + 180) % 360 - 180 == pytest.approx(0, abs=3)


def test_gabor_filters_touch_at_half_of_their_peaks() -> None:
    # Along the axis of orientation 0, the filters of two neighbouring scales cross at half height.
    finest, next_finest = (
        np.abs(np.fft.fft2(gabor_kernel(scale, 0), (4096, 4096))[0, :2048]) for scale in (0, 1)
    )
    finest, next_finest = finest / finest.max(), next_finest / next_finest.max()
    between = slice(next_finest.argmax(), finest.argmax())
    crossing = np.abs(finest[between] - next_finest[between]).argmin()
    assert finest[between][crossing] == pytest.approx(0.5, abs=0.02)


ON_GPU = [pytest.param(backend, marks=pytest.mark.gpu) for backend in ("cuda", "caffe-gpu")]


@pytest.fixture(params=["caffe", "torch", *ON_GPU])
def alexnet_backend(request: pytest.FixtureRequest) -> str:
    """Each backend of the AlexNet bank that is here."""
    require(request.param)
    return request.param


@pytest.fixture(params=["numpy", "torch", ON_GPU[0]])
def gabor_backend(request: pytest.FixtureRequest) -> str:
    """Each backend of the Gabor bank that is here."""
    require(request.param)
    return request.param


@pytest.mark.parametrize("size", [9, 16, 64])
def test_gabor_responses_equal_direct_filtering(size: int, gabor_backend: str) -> None:
    bank = make_bank("gabor", resize=size, backend=gabor_backend)
    images = np.stack([warp(draw_image(seed), bank) for seed in (1, 2)])
    (found,) = bank.responses(images)
    assert found.shape == (2, 48, size * size)
    assert found.dtype == np.float32
    for image, maps in zip(images, found):
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float64)
        # Mirrored as often as the largest kernel needs; filter2D correlates, so turn the kernel.
        border = 64
        wide = np.pad(grey, border, mode="symmetric")
        for channel, values in enumerate(maps):
            kernel = gabor_kernel(channel // 12, channel // 2 % 6)
            part = kernel.imag if channel % 2 else kernel.real
            direct = cv2.filter2D(wide, cv2.CV_64F, np.ascontiguousarray(part[::-1, ::-1]))
            direct = direct[border:-border, border:-border]
            assert np.allclose(values.reshape(size, size), direct, atol=2e-4)


def test_gabor_responses_do_not_depend_on_brightness() -> None:
    bank = make_bank("gabor", resize=32)
    dark = np.random.default_rng(0).integers(0, 100, (1, 32, 32, 3), np.uint8)
    dark[..., 1:] = dark[..., :1]
    difference = bank.responses(dark)[0] - bank.responses(dark + 100)[0]
    assert np.abs(difference).max() < 1e-3


def test_warp_takes_the_centre_and_the_default_sizes(tmp_path: Path) -> None:
    bank = make_bank("alexnet", save_npz(tmp_path / "w.npz", random_weights()))
    assert (bank.resize, bank.crop) == (256, 224)
    image = draw_image(3, 300, 200)
    expected = cv2.resize(image, (256, 256), interpolation=cv2.INTER_LINEAR)[16:240, 16:240]
    assert (warp(image, bank) == expected).all()
    assert (make_bank("gabor").resize, make_bank("gabor").crop) == (64, 64)


def correlate(maps: np.ndarray, kernels: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """C x H x W correlated with O x C x k x k, no padding, in float64."""
    k = kernels.shape[2]
    height, width = (maps.shape[1] - k) // stride + 1, (maps.shape[2] - k) // stride + 1
    out = np.zeros((len(kernels), height, width)) + bias[:, None, None]
    for y in range(k):
        for x in range(k):
            part = maps[:, y : y + stride * height : stride, x : x + stride * width : stride]
            out += np.einsum(
                "oc,chw->ohw", kernels[:, :, y, x].astype(np.float64), part[:, :height, :width]
            )
    return out


def test_alexnet_responses_equal_a_direct_computation(tmp_path: Path, alexnet_backend: str) -> None:
    arrays = random_weights()
    bank = make_bank("alexnet", save_npz(tmp_path / "w.npz", arrays), backend=alexnet_backend)
    image = warp(draw_image(4), bank)
    other = warp(draw_image(5), bank)
    conv1_found, conv2_found = (maps.copy() for maps in bank.responses(np.stack([other, image])))
    assert conv1_found.shape == (2, 96, 54 * 54)
    assert conv2_found.shape == (2, 256, 26 * 26)

    data = image.transpose(2, 0, 1) - np.array([104.0, 117, 123])[:, None, None]
    conv1 = correlate(data, arrays["conv1_w"], arrays["conv1_b"], 4)
    relu = np.maximum(conv1, 0)
    squares = np.pad(relu**2, ((2, 2), (0, 0), (0, 0)))
    energy = sum(squares[i : i + 96] for i in range(5))
    normed = relu / (1 + 1e-4 / 5 * energy) ** 0.75
    pooled = np.max(
        [normed[:, y : y + 51 : 2, x : x + 51 : 2] for y in range(3) for x in range(3)], axis=0
    )
    padded = np.pad(pooled, ((0, 0), (2, 2), (2, 2)))
    halves = [
        correlate(
            padded[48 * g : 48 * g + 48],
            arrays["conv2_w"][128 * g : 128 * g + 128],
            arrays["conv2_b"][128 * g : 128 * g + 128],
            1,
        )
        for g in (0, 1)
    ]
    conv2 = np.concatenate(halves)
    assert conv1.shape == (96, 54, 54)
    assert conv2.shape == (256, 26, 26)
    assert (conv1 < 0).any()
    for found, expected in ((conv1_found, conv1), (conv2_found, conv2)):
        scale = np.abs(expected).max()
        assert np.allclose(found[1], expected.reshape(len(expected), -1), atol=1e-5 * scale)


@pytest.mark.parametrize("backend", ["torch", *ON_GPU])
def test_alexnet_backends_agree_on_real_images(backend: str, shared_data: Path) -> None:
    require(backend)
    weights = str(shared_data / "alexnet_conv12.npz")
    by_caffe, by_torch = (make_bank("alexnet", weights, backend=b) for b in ("caffe", backend))
    files = sorted((shared_data / "target_oxford17_flowers" / "images").iterdir())[::150]
    images = np.stack(
        [warp(decode_image(file.read_bytes(), file.name), by_caffe) for file in files]
    )
    for one, other in zip(by_caffe.responses(images), by_torch.responses(images)):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()


def test_unfit_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs --weights: .*; --bank gabor needs none"):
        make_bank("alexnet")
    with pytest.raises(InputError, match="the gabor bank has no learnt weights"):
        make_bank("gabor", "w.npz")
    with pytest.raises(InputError, match="alexnet bank needs --resize of at least 224, got 100"):
        make_bank("alexnet", save_npz(tmp_path / "w.npz", random_weights()), 100)
    with pytest.raises(InputError, match="gabor bank needs --resize of at least 8, got 4"):
        make_bank("gabor", resize=4)


def test_a_resolution_makes_a_sharp_image_and_its_reduced_copy_alike() -> None:
    bank = make_bank("gabor", resize=64, resolution=16)
    sharp = draw_image(3, height=64, width=96)
    reduced = cv2.resize(sharp, (16, 16), interpolation=cv2.INTER_AREA)
    assert (warp(sharp, bank) == warp(reduced, bank)).all()
    assert (warp(sharp, make_bank("gabor", resize=64)) != warp(reduced, bank)).any()
