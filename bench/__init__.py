"""Figures as ratios: each workload on PALM and on raw pyzmq, side by side in one run. Not part of the package."""
