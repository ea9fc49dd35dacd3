"""`fewpick label`: a page in the browser on which particles are marked, and its server."""
