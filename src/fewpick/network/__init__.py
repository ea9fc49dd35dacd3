"""The network, its model file, its device, and inference."""
