"""Write small inputs for `tacit deconvolve`.

    python examples/make_signals.py [FOLDER]

writes into FOLDER (default: ``signals`` beside this file)

* shaken-1.png, shaken-2.png: a part of the photograph ``camera`` of scikit-image (CC0),
  blurred by two random 5 x 5 kernels and rounded to 8 bits, as two shots with an
  unsteady hand; scene.png is the part itself, and scene-wavelets.npz says which of its
  Haar wavelets are largest (``signal_wavelets``, ``wavelet``);
* echo.wav: 0.6 seconds of six struck strings in a room with echoes, 16 bits at 8 kHz;
  score.npz has what a score says (``onset``, ``frequency``, ``decay`` of every
  overtone), walls.npz at which delays an echo may come back (``filter_support``);
  dry.wav is the sound without echoes;
* planted.npz: a random instance with 2 % of noise (arrays ``y``, ``B``, ``C``,
  ``noise_bound`` and the true ``h``, ``x``).
"""

import sys
import wave
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.signal import convolve
from skimage import data

import tacit

BLOCK, SIDE, KERNEL = 3, 72, 5  # pixels that become one; of the scene; of a kernel
TOP, LEFT = 20, 60
RATE, SECONDS, ROOM = 8000, 0.6, 800  # ROOM: samples after which echoes are over
NOTES, OVERTONES, ECHOES, CANDIDATES = 6, 8, 6, 30
FILTER, SIGNAL, LENGTH, NOISE = 10, 15, 200, 0.02
WAVELETS = 1600


def save_grey(path: Path, image: np.ndarray) -> None:
    """Save values from 0 to 1 in 8 bits."""
    Image.fromarray(np.rint(255.0 * image).astype(np.uint8)).save(path)


def save_pictures(folder: Path, draw: np.random.Generator) -> None:
    """Save a scene and two blurred pictures of it."""
    grey = data.camera() / 255.0
    height, width = (size // BLOCK for size in grey.shape)
    blocks = grey[: height * BLOCK, : width * BLOCK]
    small = blocks.reshape(height, BLOCK, width, BLOCK).mean(axis=(1, 3))
    scene = small[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    save_grey(folder / "scene.png", scene)
    chosen = tacit.largest_wavelets(torch.from_numpy(scene), WAVELETS, wavelet="haar")
    places = chosen.sort().values.numpy()
    np.savez(folder / "scene-wavelets.npz", signal_wavelets=places, wavelet="haar")
    for number in (1, 2):
        kernel = draw.uniform(0.0, 1.0, (KERNEL, KERNEL)) ** 3
        blurred = convolve(scene, kernel / kernel.sum(), mode="valid")
        save_grey(folder / f"shaken-{number}.png", blurred)


def save_sound(path: Path, samples: np.ndarray) -> None:
    """Save samples from -1 to 1 in 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(32767.0 * samples).astype("<i2").tobytes())


def save_recording(folder: Path, draw: np.random.Generator) -> None:
    """Save struck strings with and without a room, and what is known of both."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    starts = np.sort(draw.choice(round(0.7 * time.size), NOTES, replace=False)) / RATE
    pitch = 220.0 * 2.0 ** (draw.choice(24, NOTES, replace=False) / 12.0)
    number = np.arange(1, OVERTONES + 1)
    onset = np.repeat(starts, OVERTONES)
    frequency = np.outer(pitch, number).ravel()
    decay = np.tile(6.0 * np.sqrt(number), NOTES)
    heard = frequency < 0.45 * RATE
    onset, frequency, decay = onset[heard], frequency[heard], decay[heard]
    loudness = draw.normal(size=onset.size) / np.tile(number, NOTES)[heard]
    phase = draw.uniform(0.0, 2.0 * np.pi, onset.size)
    since = time[:, None] - onset
    tones = np.exp(-decay * np.maximum(since, 0.0)) * (since >= -0.5 / RATE)
    dry = (tones * np.cos(2.0 * np.pi * frequency * since + phase)) @ loudness
    delays = np.sort(draw.choice(np.arange(1, ROOM), CANDIDATES - 1, replace=False))
    delays = np.concatenate([[0], delays])
    room = np.zeros(ROOM)
    room[0] = 1.0
    back = draw.choice(delays[1:], ECHOES, replace=False)
    room[back] = draw.normal(size=ECHOES) * 0.7 * np.exp(-2.0 * back / ROOM)
    wet = convolve(dry, room[: delays[-1] + 1])
    save_sound(folder / "dry.wav", 0.8 * dry / np.abs(dry).max())
    save_sound(folder / "echo.wav", 0.8 * wet / np.abs(wet).max())
    np.savez(folder / "score.npz", onset=onset, frequency=frequency, decay=decay)
    np.savez(folder / "walls.npz", filter_support=delays)


def save_planted(path: Path, draw: np.random.Generator) -> None:
    """Save a random instance with its truth."""
    b = np.linalg.qr(draw.normal(size=(LENGTH, FILTER)))[0]
    c = draw.normal(size=(LENGTH, SIGNAL)) / np.sqrt(LENGTH)
    h, x = draw.normal(size=FILTER), draw.normal(size=SIGNAL)
    product = np.fft.rfft(b @ h) * np.fft.rfft(c @ x)
    y = np.fft.irfft(product, LENGTH)
    noise = draw.normal(size=LENGTH)
    bound = NOISE * np.linalg.norm(y)
    y = y + noise * bound / np.linalg.norm(noise)
    np.savez(path, y=y, B=b, C=c, h=h, x=x, noise_bound=bound)


def main() -> None:
    """Write all files."""
    given = sys.argv[1:]
    folder = Path(given[0]) if given else Path(__file__).parent / "signals"
    folder.mkdir(parents=True, exist_ok=True)
    save_pictures(folder, np.random.default_rng(0))
    save_recording(folder, np.random.default_rng(1))
    save_planted(folder / "planted.npz", np.random.default_rng(2))


if __name__ == "__main__":
    main()
