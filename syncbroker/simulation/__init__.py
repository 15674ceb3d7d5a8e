"""Worlds that are made up: seeded systems and people on a virtual clock, driven through the real engine and store.

In reading order: `stage` (a mapping made ready), `systems` and `vendor` (the simulated systems, and how the engine
speaks to them), `world` (time, webhooks, faults, and the world's own log), `script` (what happens, as data), `play`
(one history from beginning to rest), `oracle` (the invariants), `shrink` (the shortest history), `run` (many seeds).
"""
