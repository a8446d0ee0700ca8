"""Light, blur and hidden eyes and mouths: told of drawn ones with their hint, and not of the portraits themselves."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import PORTRAITS, portrait
from PIL import Image, ImageDraw, ImageFilter

from facesdk import Engine, Guidance, _core
from facesdk.capture import crop_measures
from facesdk.capture.quality import QualityLimits, assess

EVERYBODY = sorted(path.stem for path in PORTRAITS.glob("*.*g"))
MASK = (93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 280, 195, 50)


def hint(engine: Engine, frame: np.ndarray, *, enrolling: bool) -> Guidance | None:
    sample, faces = engine.observe(frame)
    refusal = assess(sample, len(faces), QualityLimits(), enrolling=enrolling)
    return None if refusal is None else refusal.guidance


def points(engine: Engine, name: str) -> np.ndarray:
    sample = engine.sample(portrait(name))
    assert sample is not None
    assert sample.face.landmarks_px is not None
    return sample.face.landmarks_px[:, :2]


def with_glasses(frame: np.ndarray, at: np.ndarray) -> np.ndarray:
    image, width = Image.fromarray(frame), float(np.linalg.norm(at[33] - at[263]))
    for corners in ((33, 133), (362, 263)):
        x, y = at[list(corners)].mean(axis=0)
        box = (x - 0.27 * width, y - 0.17 * width, x + 0.27 * width, y + 0.25 * width)
        ImageDraw.Draw(image).ellipse(box, fill=(18, 18, 20))
    return np.asarray(image)


def with_mask(frame: np.ndarray, at: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    image = Image.fromarray(frame)
    ImageDraw.Draw(image).polygon([tuple(map(float, at[i])) for i in MASK], fill=colour)
    return np.asarray(image)


@pytest.mark.parametrize("name", EVERYBODY)
def test_every_portrait_can_be_enrolled_and_in_dim_light_too(sface: Engine, name: str) -> None:
    assert hint(sface, portrait(name), enrolling=True) is None
    for factor in (0.4, 0.3):
        assert hint(sface, np.round(portrait(name) * factor).astype(np.uint8), enrolling=False) is None


@pytest.mark.parametrize("name", EVERYBODY)
def test_sunglasses_and_masks_are_named_at_enrollment(sface: Engine, name: str) -> None:
    at = points(sface, name)
    assert hint(sface, with_glasses(portrait(name), at), enrolling=True) is Guidance.TAKE_OFF_GLASSES
    for colour in ((235, 235, 230), (120, 170, 200)):
        found = hint(sface, with_mask(portrait(name), at, colour), enrolling=True)
        assert found in (Guidance.TAKE_OFF_MASK, Guidance.SHOW_FACE)  # or there is no face to be found any more


@pytest.mark.parametrize("name", EVERYBODY)
def test_blur_is_told_at_enrollment(sface: Engine, name: str) -> None:
    sample = sface.sample(portrait(name))
    assert sample is not None
    radius = sample.quality.eye_distance_px / 15
    blurred = np.asarray(Image.fromarray(portrait(name)).filter(ImageFilter.GaussianBlur(radius)))
    assert hint(sface, blurred, enrolling=True) is Guidance.HOLD_STILL


def test_noise_in_the_dark_asks_for_light(sface: Engine) -> None:
    random = np.random.default_rng(0)
    dim = portrait("ardern_2022") * 0.1
    assert hint(sface, np.round(portrait("ardern_2022") * 0.3).astype(np.uint8), enrolling=False) is None
    noisy = np.clip(np.round(dim + random.normal(0, 12, dim.shape)), 0, 255).astype(np.uint8)
    assert hint(sface, noisy, enrolling=False) is Guidance.MORE_LIGHT


def signal_to_noise(crop: np.ndarray) -> float:
    """As native/core/pipeline.h defines it, in numpy."""
    gray = (crop[28:104, 22:90].astype(np.int64) @ np.array([77, 150, 29])) / 256
    boxes = np.lib.stride_tricks.sliding_window_view(gray, (5, 5)).mean(axis=(2, 3))
    mask = np.outer((1, -2, 1), (1, -2, 1))
    noise = np.abs(np.einsum("yxvu,vu->yx", np.lib.stride_tricks.sliding_window_view(gray, (3, 3)), mask)).mean()
    return float(boxes.std() / (np.sqrt(np.pi / 2) / 6 * noise + 0.6))


@pytest.mark.parametrize("name", EVERYBODY)
def test_light_is_measured_as_it_is_defined(sface: Engine, name: str) -> None:
    sample = sface.sample(portrait(name))
    assert sample is not None
    assert sample.quality.signal_to_noise == pytest.approx(signal_to_noise(sample.crop), rel=1e-9)
    random = np.random.default_rng(3)
    for crop in (random.integers(0, 256, (112, 112, 3), np.uint8), sample.crop // 7, 255 - sample.crop):
        assert _core.signal_to_noise(np.ascontiguousarray(crop)) == pytest.approx(signal_to_noise(crop), rel=1e-9)
    for wrong in (sample.crop[:, :, 0], sample.crop[:64], sample.crop.astype(np.float32), sample.crop[::-1]):
        with pytest.raises(ValueError, match=r"aligned crop|uint8 array"):
            _core.signal_to_noise(wrong)


def test_light_is_measured_alike_at_every_level() -> None:
    """What is scaled is as good as before, but for what the rounding to whole numbers takes."""
    random = np.random.default_rng(1)
    smooth = np.asarray(Image.fromarray(random.integers(0, 256, (14, 14, 3), np.uint8)).resize((112, 112)), float)
    noisy = smooth + random.normal(0, 8, smooth.shape)
    levels = [_core.signal_to_noise(np.clip(noisy * f, 0, 255).astype(np.uint8)) for f in (0.9, 0.6, 0.4)]
    assert max(levels) < 1.3 * min(levels)
    clean = _core.signal_to_noise(smooth.astype(np.uint8))
    assert clean > 3 * levels[0]
    assert _core.signal_to_noise(np.zeros((112, 112, 3), np.uint8)) == 0.0


@pytest.mark.parametrize("name", EVERYBODY)
def test_motion_in_any_direction_takes_fine_detail(sface: Engine, name: str) -> None:
    sample = sface.sample(portrait(name))
    assert sample is not None
    still = crop_measures.fine_detail(sample.crop)
    assert still > 0.7
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        steps = [np.roll(sample.crop, (k * down, k * right), (0, 1)) for k in range(7)]
        assert crop_measures.fine_detail(np.round(np.mean(steps, axis=0)).astype(np.uint8)) < min(0.6, still - 0.7)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_crop_is_measured_without_an_error(value: int) -> None:
    crop = np.full((112, 112, 3), value, np.uint8)
    assert _core.signal_to_noise(crop) == 0.0
    assert crop_measures.fine_detail(crop) < -1
    assert crop_measures.mouth_detail(crop) == 0.0
    assert crop_measures.chin_colour(crop) == pytest.approx(0.0, abs=1e-6)
    assert 0.9 < crop_measures.eye_brightness(crop) < 1.1


# The measures once more, as slowly as they are defined, with the places of the parts written again.


def gray_of(crop: np.ndarray) -> np.ndarray:
    return crop.astype(float) @ np.array([0.299, 0.587, 0.114])


USUAL = {
    (0.25, 0.4): (-5.06, -5.02, -4.85, -4.87, -4.89, -4.88, -4.89, -5.05),
    (0.12, 0.2): (-4.63, -4.16, -3.64, -3.67, -4.04, -3.68, -3.66, -4.13),
}


def slow_fine_detail(crop: np.ndarray) -> float:
    gray = gray_of(crop)[24:104, 20:92]
    height, width = gray.shape
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1)) for n in (height, width)]
    gray = (gray - gray.mean()) * hann[0][:, None] * hann[1]
    frequencies = [(n if n < 64 else n - 128) / 128 for n in range(128)]
    down, across = (np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n))) for n in (height, width))
    power = np.abs(down @ gray @ across.T) ** 2

    def logs(upper: tuple[float, float], lower: tuple[float, float]) -> np.ndarray:
        found = []
        for k in range(8):
            parts: tuple[list[float], list[float]] = ([], [])
            for i, fy in enumerate(frequencies):
                for j, fx in enumerate(frequencies):
                    off = (np.arctan2(fy, fx) - k * np.pi / 8) % np.pi
                    if min(off, np.pi - off) < np.pi / 9.6:
                        for part, (low, high) in zip(parts, (upper, lower), strict=True):
                            if low <= np.hypot(fy, fx) < high:
                                part.append(power[i, j])
            found.append(np.log((np.mean(parts[0]) + 0.000001) / (np.mean(parts[1]) + 1)))
        return np.array(found)

    finest, fine, middle = (
        logs((0.3, 0.45), (0.08, 0.16)), logs((0.25, 0.4), (0.08, 0.16)), logs((0.12, 0.2), (0.03, 0.07))
    )  # fmt: skip
    uneven = fine - USUAL[0.25, 0.4]
    return float(min(finest.mean() + 8, uneven.min() - uneven.max() + 2.6, min(middle - USUAL[0.12, 0.2]) + 3.05))


def slow_eye_brightness(crop: np.ndarray) -> float:
    gray = gray_of(crop)
    eyes = [*gray[44:58, 28:48].flat, *gray[44:58, 64:84].flat]
    cheeks = [*gray[66:80, 26:42].flat, *gray[66:80, 70:86].flat]
    return float((np.percentile(eyes, 75) + 4) / (np.median(cheeks) + 4))


def slow_mouth_detail(crop: np.ndarray) -> float:
    gray = gray_of(crop)[80:106, 40:72]
    changes = [abs(gray[y + 1, x] - gray[y, x]) for y in range(25) for x in range(32)]
    return float(np.percentile(changes, 90) / (np.median(gray) + 8))


def slow_chin_colour(crop: np.ndarray) -> float:
    shares = []
    for part in (crop[84:104, 36:76], crop[58:66, 28:84]):
        red, green, blue = (float(np.median(part[:, :, channel])) for channel in range(3))
        shares.append((red / (red + green + blue + 12), blue / (red + green + blue + 12)))
    return float(np.hypot(shares[0][0] - shares[1][0], shares[0][1] - shares[1][1]))


def crops() -> list[np.ndarray]:
    """Noise, dark and with hardly any contrast too, and noise that is blurred in each direction."""
    random = np.random.default_rng(7)
    noise = random.integers(0, 256, (112, 112, 3), np.uint8)
    blurred = [
        np.mean([np.roll(noise, (k * down, k * right), (0, 1)) for k in range(7)], axis=0).astype(np.uint8)
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    ]
    tinted = [random.integers(0, high, (112, 112, 3), np.uint8) for high in ([250, 90, 40], [30, 90, 200])]
    return [noise, *blurred, *tinted, random.integers(0, 12, noise.shape, np.uint8),
            np.repeat(random.integers(100, 102, (112, 112, 1), np.uint8), 3, axis=2)]  # fmt: skip


def test_each_measure_is_what_its_slow_twin_says() -> None:
    for crop in crops():
        assert crop_measures.fine_detail(crop) == pytest.approx(slow_fine_detail(crop), abs=1e-4)
        assert crop_measures.eye_brightness(crop) == pytest.approx(slow_eye_brightness(crop), rel=1e-5)
        assert crop_measures.mouth_detail(crop) == pytest.approx(slow_mouth_detail(crop), rel=1e-5)
        assert crop_measures.chin_colour(crop) == pytest.approx(slow_chin_colour(crop), rel=1e-5, abs=1e-7)
