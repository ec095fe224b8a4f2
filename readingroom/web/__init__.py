"""HTTP: pages, API, DICOMweb routes. The front end lives in ``frontend/`` and is built into ``static/``."""
