"""Uploaded files, kept for a while so that their `file_url` leads to them; `FILE_STORE` says where.

keeper.py   an upload becomes a link, a link becomes a file
links.py    unguessable names, signed and expiring
names.py    the name of a file, however its client wrote it
store.py    the interface of a store, and which files have to leave it
folder.py   a local folder
bucket.py   S3
"""

from service.files.keeper import Files

__all__ = ["Files"]
