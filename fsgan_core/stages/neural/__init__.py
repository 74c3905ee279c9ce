"""The published networks as engines of the stages: crops, heat maps, soft erosion and the four `fsgan` engines."""
