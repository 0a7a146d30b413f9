"""What gradient descent from a small start does, step by step."""
