"""Which permission each DIMSE verb needs: the table a test walks. A verb that is not here is refused."""

from readingroom.core.permissions import Permission

DIMSE_PERMISSIONS: dict[str, Permission] = {
    "C-ECHO": Permission.ECHO,
    "C-STORE": Permission.STUDY_STORE,
}
