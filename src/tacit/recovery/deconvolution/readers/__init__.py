"""Observed convolutions in files: arrays, recordings and pictures become problems."""
