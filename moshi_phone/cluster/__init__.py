"""A cluster of servers on Ray: gateways answer webhooks, workers run calls, a manager controls both."""
