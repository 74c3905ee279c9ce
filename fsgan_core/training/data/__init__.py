"""Training data: faces cut out of clips, prepared face folders, augmentation, and the batches made from them."""
