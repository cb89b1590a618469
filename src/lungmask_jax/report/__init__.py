"""Pages that people read: one a scan, one a folder, one a patient, and one an evaluation.

A page is one HTML file that any browser opens from disk; it requests nothing from outside. Texts,
such as names of scans, are shown as text, whatever they contain. Pages need Jinja2:
``pip install "lungmask-jax[report]"``.
"""

from lungmask_jax.report._evaluation_page import evaluation_page
from lungmask_jax.report._folder_page import Entry, folder_page
from lungmask_jax.report._follow_up import Visit, follow_up_page
from lungmask_jax.report._levels import level_pictures
from lungmask_jax.report._pages import check_installed, write_page
from lungmask_jax.report._scan_page import scan_page
from lungmask_jax.report._scores import Errors, Scores
from lungmask_jax.report._summary import summary
from lungmask_jax.report._thumbnail import thumbnail

__all__ = [
    "Entry",
    "Errors",
    "Scores",
    "Visit",
    "check_installed",
    "evaluation_page",
    "folder_page",
    "follow_up_page",
    "level_pictures",
    "scan_page",
    "summary",
    "thumbnail",
    "write_page",
]
