"""How far generated samples are from real ones, as distances between features."""
