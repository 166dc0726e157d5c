"""Class activation maps: sums of the feature maps of a layer, weighted for a class."""
