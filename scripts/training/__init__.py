"""Training: generated clips, what a camera does to them, and what is fitted on the result."""
