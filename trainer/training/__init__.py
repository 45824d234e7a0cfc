"""One training: loop, folds, losses, optimizers, precision, checkpoints."""
