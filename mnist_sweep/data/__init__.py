"""The data sets: MNIST as it is packed here, folders of IDX files, and their splits."""
