"""syncbroker: an integration sync and source-of-truth broker.

How to read the code, in order: `core/types.py` (the words), `core/resolve.py` (who is right), `engine/` (the four
steps, in the order data flows), `bootstrap.py` (how it is put together). `docs/architecture.md` says why.
"""

__version__ = "0.1.0"
