"""Where trials run: in worker processes here, or on a Ray cluster."""
