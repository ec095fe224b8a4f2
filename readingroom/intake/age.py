"""A patient's age at a study. Apart from the rest of intake, so that whoever asks it reads no pixel library."""

from datetime import date


def age_years(PatientAge: str, PatientBirthDate: str, StudyDate: str) -> float | None:
    """Age in years at the study: from both dates where they make sense, else from PatientAge (``063Y``)."""
    born, studied = _date(PatientBirthDate), _date(StudyDate)
    if born and studied:
        years = (studied - born).days / 365.25
        if 0 <= years <= 125:
            return round(years, 1)
    units = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    number, unit = PatientAge[:-1], PatientAge[-1:].upper()
    if number.isdigit() and unit in units:
        return round(int(number) * units[unit], 1)
    return None


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None
