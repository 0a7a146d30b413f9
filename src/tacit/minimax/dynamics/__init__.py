"""How descent-ascent moves near a solution: spectra, rates, limits, best steps."""
