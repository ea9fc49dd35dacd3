"""The browser page of `fewpick label`, on which particles are marked, and its server."""
