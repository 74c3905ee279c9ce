"""What brings the new face to the plate's look: light, hue of features, sharpness, texture and grain."""
