"""A picture of a page of the package's, as Chromium shows it from disk: for the documents.

python tests/envs/page_picture.py outputs/axes/report.html --out docs/report.png --height 850
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

from browser import open_page

from vst_vla.vla.files import replacing_file


def picture(page: Path, *, width: int, height: int) -> bytes:
    """A PNG of the top of the page, `width` x `height` pixels."""
    with tempfile.TemporaryDirectory() as profile, open_page(page, profile=Path(profile)) as tab:
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        tab.run("Promise.all([...document.querySelectorAll('img')].map(image => image.decode().catch(() => 0)))")
        return base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"])


def main() -> None:
    """Takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1500)
    given = parser.parse_args()
    with replacing_file(given.out) as made:
        made.write_bytes(picture(given.page, width=given.width, height=given.height))


if __name__ == "__main__":
    main()
