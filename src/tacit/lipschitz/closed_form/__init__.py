"""Upper bounds without a search: norms of layers and what follows from them."""
