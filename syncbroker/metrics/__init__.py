"""What a monitoring system scrapes. `counts` is what this process did, `store` how the store fares, `page` puts both
into the text that Prometheus reads, `server` gives it a port of its own."""
