"""From a Kaggle image competition's name to a scored submission."""
