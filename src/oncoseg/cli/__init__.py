"""The command line: a module each for the catalogue, for learning and for measuring."""
