"""The network, its file, the device that it runs on, and its inference."""
