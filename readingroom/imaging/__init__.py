"""Volumes, projection images, geometry, resampling, decoding. Pure: files and arrays in, values out."""
