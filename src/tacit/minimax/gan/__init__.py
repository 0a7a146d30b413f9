"""Generative adversarial networks of a given width: data, training, scores."""
