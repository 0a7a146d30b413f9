"""Files with entries or measurements of a matrix become problems with labels."""
