"""Where trials run: in this process, in worker processes here, or on a Ray cluster."""
