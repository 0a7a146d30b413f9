"""Lower bounds: the search for a pair of inputs with a large difference quotient."""
