"""Ensembles of independent trajectories: random streams, batches, burn-in, targets, reductions."""
