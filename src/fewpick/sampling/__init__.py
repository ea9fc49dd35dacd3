"""What a training sees: micrographs with the labels it may use, and random views of them."""
