"""Nuclear norm minimisation, by two routes, with a duality gap beside the answer."""
