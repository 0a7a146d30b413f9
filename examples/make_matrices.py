"""Write two small inputs for `tacit recover`.

    python examples/make_matrices.py [FOLDER]

writes into FOLDER (default: ``matrices`` beside this file)

* photo.npz: the photograph ``china.jpg`` of scikit-learn (by danielbuechele, CC BY 2.0)
  in grey, made smaller, with half of its pixels removed at random (arrays ``matrix``
  and ``observed``);
* sensing.npz: 140 random measurements of a symmetric 12 x 12 matrix of rank 2, whose
  factor is stored beside them (arrays ``measurement_matrix`` in symmetric packing,
  ``measurements`` and ``factor``).
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

BLOCK = 3  # pixels that become one, in each direction
SIDE, RANK, NUM_MEASUREMENTS = 12, 2, 140


def save_photo(path: Path, draw: np.random.Generator) -> None:
    """Save a grey photograph with holes."""
    grey = load_sample_image("china.jpg").mean(axis=2)
    height, width = (size // BLOCK for size in grey.shape)
    blocks = grey[: height * BLOCK, : width * BLOCK]
    blocks = blocks.reshape(height, BLOCK, width, BLOCK)
    image = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    observed = draw.random(image.shape) < 0.5
    np.savez_compressed(path, matrix=np.where(observed, image, 0), observed=observed)


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
    save_measurements(folder / "sensing.npz", np.random.default_rng(1))


if __name__ == "__main__":
    main()
