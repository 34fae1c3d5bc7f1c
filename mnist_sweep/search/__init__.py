"""Which trials come next, given the rows so far. Pure: no files, no processes, no clock."""
