"""Where faces are in a picture: one file per detector, and `choose_detector` makes one by name."""
