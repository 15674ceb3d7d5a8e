"""All that a connector author sees. `connector.py` is the contract; the rest are tools to fulfil it."""
