"""To run the system on machines that are not a developer's: an image, manifests, units, the order of an update and of
a restore. docs/deploy.md says how they are used."""
