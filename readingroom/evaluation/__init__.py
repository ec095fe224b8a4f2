"""How good a reader is: detection, classification, segmentation and agreement, each with an interval and its source. Pure."""
