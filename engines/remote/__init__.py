"""Moshi elsewhere: a server that speaks Kyutai's ``/api/chat`` protocol answers the call."""
