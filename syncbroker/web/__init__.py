"""The ways in over HTTP.

`app` puts the routes together; `webhooks` takes what vendors deliver; `writer` stores it, many at a time; `server`
listens, with a bounded `connection` for each who calls; `counts` says how often what became of them.
"""
