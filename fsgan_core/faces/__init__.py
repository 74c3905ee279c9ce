"""Who is where, in which pose: detection, landmarks, Euler angles, tracks, the appearance map."""
