"""Movie files: packets, pixels, fields, and writing them."""
