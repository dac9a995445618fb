"""Raw files become train.csv, test.csv, folds.csv and batches of images."""
