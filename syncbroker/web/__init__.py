"""The ways in over HTTP. `app` puts the routes together; `webhooks` takes what vendors deliver; `server` listens."""
