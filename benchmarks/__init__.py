"""Judges: every claim of speed or quality is made by a module here. Nothing imports it."""
