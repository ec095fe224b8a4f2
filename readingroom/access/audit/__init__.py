"""Reading the audit: verifying and sealing its chain, sending it on, and answering who saw what."""
