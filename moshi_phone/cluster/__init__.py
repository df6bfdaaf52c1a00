"""Several servers on Ray: gateways for the webhooks, workers for the calls, a manager for both."""
