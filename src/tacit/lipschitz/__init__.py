"""Lipschitz constants of neural networks: values reached and bounds proved."""
