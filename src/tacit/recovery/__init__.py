"""Low-rank recovery: which low-rank matrix explains these linear measurements?"""
