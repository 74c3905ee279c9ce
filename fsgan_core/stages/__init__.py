"""The four stages of a face swap, each a pure function of plates, tracks and parameters."""
