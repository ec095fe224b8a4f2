"""Urgent findings: raised by a reading, told to people by pages, webhook and mail, until somebody has seen to them."""
