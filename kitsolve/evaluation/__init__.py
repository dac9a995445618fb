"""Out-of-fold predictions of a run become its CV score."""
