"""How good a reader is: detection, classification, segmentation, agreement; each with an interval and its source. Pure.

Every function takes arrays and returns numbers; nothing here knows a reader, a file or a patient. Cases that belong to
one patient are told by a ``groups`` array: every resampling draws patients, never images.
"""
