"""Known subspaces that signals lie in: supports, wavelets, Fourier modes, any basis."""
