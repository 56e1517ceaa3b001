"""Response: what changed since earlier scans, lesion by lesion, and what a rule calls it."""
