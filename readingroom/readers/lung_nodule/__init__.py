"""Lung nodules on chest CT, version 1: lungs, multi-scale blob candidates, a tree ensemble trained by ``train.py``."""
