"""Personas: text and voice prompts, prefilled once and copied into calls."""
