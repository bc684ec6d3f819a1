"""The manifests of the apps, made from one template: `python -m deploy.kubernetes` writes them."""
