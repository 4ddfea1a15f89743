"""Tests of `retrieval`: real files in a temporary folder, a caret where the cursor is."""
