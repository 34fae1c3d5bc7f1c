"""What the layers and steps are made of: C kernels on the CPU, generated ones elsewhere."""
