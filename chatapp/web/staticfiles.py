"""Static files under hashed names, compressed. Modules find each other through the import map."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):
    """Hashed names that never serve a stale file; ``url()`` of an unknown name fails loudly."""

    manifest_strict = True
    max_post_process_passes = 5
