"""Lung nodules on chest CT, version 2: lungs, candidates, two looks (features, then a 3D network), what each is."""
