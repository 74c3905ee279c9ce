"""An input opened: its frames, its track and its colour space; shot files read and written."""
