"""Finished runs become a bundle, a notebook and a checked submission."""
