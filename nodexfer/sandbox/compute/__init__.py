"""An emulator of the Globus Compute web service, on a real RabbitMQ: real endpoints and the real SDK talk to it."""
