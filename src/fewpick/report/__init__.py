"""Write one self-contained page that shows a comparison: `page.build`.

Tables and text are plain HTML that needs no scripts, so even a mail program can show them; plots
and the gallery are drawn in the browser from data embedded in the page. Nothing is downloaded: the
page's content security policy forbids it. Plots use Chart.js (MIT), included next to this file
unmodified.
"""

from __future__ import annotations
