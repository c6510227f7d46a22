"""What was uploaded, kept for a while so that its `file_url` leads to it; `FILE_STORE` says where.

keeper.py   an upload becomes a link, a link becomes a file
links.py    names that nobody guesses, signed and expiring
store.py    what a store does, and what has to leave it
folder.py   a local folder
bucket.py   S3
answer.py   a file over HTTP: conditions, ranges, nothing that runs
"""

from service.answers.file import FileAnswer
from service.files.keeper import Files

__all__ = ["FileAnswer", "Files"]
