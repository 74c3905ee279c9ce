"""Render farms: job bundles, the tasks that they call, jobs of Nuke scripts, and a session's process."""
