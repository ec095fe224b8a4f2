"""Accounts, sessions, roles."""
