"""Completion: a low-rank matrix from some of its entries."""
