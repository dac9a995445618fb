"""One fold becomes its best state_dict, history and out-of-fold predictions."""
