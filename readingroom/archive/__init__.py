"""Store, index, DIMSE, DICOMweb, import, delivery."""
