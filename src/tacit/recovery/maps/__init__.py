"""Linear maps from matrices to measurements."""
