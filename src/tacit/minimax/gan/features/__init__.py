"""Features that images are scored on: extractors, and how images reach them."""
