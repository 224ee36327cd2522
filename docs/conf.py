"""How Sphinx builds these pages: python -m sphinx -W --keep-going docs build/docs.

Tables, drawings and the command line's help are written by docs/tools into docs/_generated each time.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
# The tools, and the package of this checkout rather than an installed one.
sys.path[:0] = [str(HERE), str(HERE.parent)]

from tools import drawings, pages  # noqa: E402

from vsgshift import __version__  # noqa: E402

project = "vsgshift"
author = "The vsgshift developers"
project_copyright = "2026, the vsgshift developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_generated/*.md"]
suppress_warnings: list[str] = []
# Single backticks in docstrings are code, as everywhere in the sources.
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = f"vsgshift {release}"
html_static_path = ["static"]
html_css_files = ["pictures.css"]
html_show_sphinx = False

GENERATED = HERE / "_generated"
pages.write(GENERATED)
drawings.write(GENERATED)
