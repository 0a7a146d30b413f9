"""Saddle problems: where gradient descent-ascent settles, and how that is known."""
