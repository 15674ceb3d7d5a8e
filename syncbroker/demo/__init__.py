"""The demo: an invented company's customers, spread over five systems and grown apart."""
