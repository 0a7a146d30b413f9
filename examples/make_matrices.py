"""Write three small inputs for `tacit recover`.

    python examples/make_matrices.py [FOLDER]

writes into FOLDER (default: ``matrices`` beside this file)

* photo.npz: the photograph ``camera`` of scikit-image (CC0), made smaller, with half of
  its pixels removed at random (arrays ``matrix`` and ``observed``);
* stations.csv: half of the temperatures, in degrees Celsius, of 80 made-up weather
  stations in the 24 half-months of a year: a mean and a yearly wave for each station,
  so rank 3, and noise of half a degree;
* sensing.npz: 140 random measurements of a symmetric 12 x 12 matrix of rank 2, whose
  factor is stored beside them (arrays ``measurement_matrix`` in symmetric packing,
  ``measurements`` and ``factor``).
"""

import csv
import sys
from calendar import month_abbr
from pathlib import Path

import numpy as np
from skimage import data

BLOCK = 3  # pixels that become one, in each direction
SIDE, RANK, NUM_MEASUREMENTS = 12, 2, 140
STATIONS = 80


def save_photo(path: Path, draw: np.random.Generator) -> None:
    """Save a grey photograph with holes."""
    grey = data.camera()
    height, width = (size // BLOCK for size in grey.shape)
    blocks = grey[: height * BLOCK, : width * BLOCK]
    blocks = blocks.reshape(height, BLOCK, width, BLOCK)
    image = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    observed = draw.random(image.shape) < 0.5
    np.savez_compressed(path, matrix=np.where(observed, image, 0), observed=observed)


def save_stations(path: Path, draw: np.random.Generator) -> None:
    """Save a table with names and holes."""
    halves = [f"{month}-{half}" for month in month_abbr[1:] for half in (1, 2)]
    mean = draw.uniform(2.0, 24.0, STATIONS)
    swing = draw.uniform(2.0, 14.0, STATIONS)
    delay = draw.normal(0.2, 0.25, STATIONS)
    angle = 2.0 * np.pi * (np.arange(len(halves)) + 0.5) / len(halves) - 3.4
    celsius = mean[:, None] + swing[:, None] * np.cos(angle - delay[:, None])
    celsius += draw.normal(0.0, 0.5, celsius.shape)
    known = draw.random(celsius.shape) < 0.5
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["station", "half_month", "celsius"])
        for i, j in np.argwhere(known):
            table.writerow([f"station-{i:02d}", halves[j], f"{celsius[i, j]:.1f}"])


def save_measurements(path: Path, draw: np.random.Generator) -> None:
    """Save Gaussian measurements of a positive semidefinite matrix."""
    factor = draw.normal(size=(SIDE, RANK))
    rows, columns = np.triu_indices(SIDE)
    # The upper triangle row by row; off the diagonal times sqrt(2), so that inner
    # products of packed vectors are those of the matrices.
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0))
    packed = (factor @ factor.T)[rows, columns] * weight
    matrix = draw.normal(size=(NUM_MEASUREMENTS, packed.size))
    np.savez(
        path,
        measurement_matrix=matrix,
        measurements=matrix @ packed,
        factor=factor,
    )


def main() -> None:
    """Write both files."""
    given = sys.argv[1:]
    folder = Path(given[0]) if given else Path(__file__).parent / "matrices"
    folder.mkdir(parents=True, exist_ok=True)
    save_photo(folder / "photo.npz", np.random.default_rng(0))
    save_stations(folder / "stations.csv", np.random.default_rng(2))
    save_measurements(folder / "sensing.npz", np.random.default_rng(1))


if __name__ == "__main__":
    main()
