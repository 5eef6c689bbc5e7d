"""How Sphinx makes the site of these pages: `make docs`, to build/site/index.html.

The pages are plain Markdown and are read as they are, here and on the disk. What a browser is given
comes from the site alone (`offline.py` looks), and a warning ends the build.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from styleatlas import __version__

project = "StyleAtlas"
author = copyright = "The StyleAtlas developers"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_line",
    "offline",
    "pages",
]
exclude_patterns = ["making"]
suppress_warnings = ["myst.header"]  # a page may go from its title to smaller headings

myst_heading_anchors = 4
myst_enable_extensions: list[str] = []
nb_execution_mode = "off"  # the tests run the notebook (tests/docs/test_notebook.py)
highlight_language = "text"
smartquotes = False  # options are written --so

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Tensor": "Tensor"}
python_maximum_signature_line_length = 80
default_role = "code"  # what docstrings put between backticks
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"StyleAtlas {version}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]
