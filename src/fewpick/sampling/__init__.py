"""Training data: micrographs with the labels that training may use, and random views of them."""
