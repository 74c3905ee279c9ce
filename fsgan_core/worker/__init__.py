"""The process that renders for Nuke: it reads requests, runs them and sends events back."""
