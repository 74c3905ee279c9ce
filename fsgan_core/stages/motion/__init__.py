"""How a face moves: a performance in millimetres, lids that close, and the picture moved along (drive, blinks)."""
