"""Ensembles of independent trajectories: random streams, batches, burn-in, targets, reductions."""

from hpcsim import environment

environment.prepare()  # before kernels are compiled
