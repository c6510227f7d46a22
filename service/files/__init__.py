"""What was uploaded, kept for a while so that its `file_url` leads to it; `FILE_STORE` says where.

upload ──> Files.keep ──> a link            links.py    names nobody guesses, signed and expiring
link   ──> Files.open ──> FileAnswer        store.py    what a store does, and what has to leave it
                                            folder.py   a local folder
                                            bucket.py   S3
                                            answer.py   HTTP: conditions, ranges, nothing that runs
"""

from service.files.answer import FileAnswer
from service.files.keeper import Files

__all__ = ["FileAnswer", "Files"]
