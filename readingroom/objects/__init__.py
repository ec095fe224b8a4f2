"""Encoders from findings and reports to SEG, SR, PDF and FHIR, one file each."""
