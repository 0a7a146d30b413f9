"""Adapters to and from the linear operators of other packages.

None of those packages is imported: a bridge calls the documented methods of the object
it is given.
"""
