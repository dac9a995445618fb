"""From test images to submission.csv: all that predicts.

Training validates with it, `kitsolve predict` runs it, and the Kaggle notebook carries it word for word, a module in a
cell, as the file kitsolve_inference.py: the CV score comes from the code that Kaggle runs. It imports only what Kaggle
has, takes every choice from bundle.json, and reads ids and images when it runs, since a code competition replaces them
at the rerun.

    python kitsolve_inference.py --bundle DIR --input DIR --output submission.csv
"""
