"""Descent on the factors: the methods of the papers, and the fast one."""
