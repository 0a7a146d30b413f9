"""The worst noise of a given size for a nuclear norm programme, searched."""
