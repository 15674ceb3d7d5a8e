"""The connectors that come with the product: one package per vendor, found through entry points only."""
