"""Write one self-contained page that shows a comparison: `page.build`.

Tables and sentences are written here and read without scripts, so a mail program may show them;
plots and the gallery are drawn in the browser from data in the page. Nothing is downloaded: the
page's own policy forbids it. Plots are drawn by Chart.js (MIT), kept beside this file as it is
published.
"""

from __future__ import annotations
