"""Foreign: models that other programs trained, as model files of ours that answer as they did."""
