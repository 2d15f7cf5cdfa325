"""Settings of Sphinx for the manual; see build.sh."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

import hpcsim

project = "hpcsim"
author = copyright = "the hpcsim developers"
release = hpcsim.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]
html_theme = "alabaster"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_static_path = ["manual.css"]
html_css_files = ["manual.css"]
html_theme_options = {"page_width": "1000px", "sidebar_width": "240px", "fixed_sidebar": True}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}


def setup(app):
    """MathML, which browsers show by themselves: MathJax would come over the network."""
    app.add_html_math_renderer("mathml", (_math(False), None), (_math(True), None))


def _math(display):
    def visit(writer, node):
        tag = "div" if display else "span"
        try:
            formula = tex2mathml(node.astext(), as_block=display)
        except MathError as error:
            raise ExtensionError(f"{node.source}, line {node.line}: {node.astext()}: {error}") from None
        for brace in "{}":  # of anticommutators: as high as the letters
            formula = formula.replace(f"<mo>{brace}</mo>", f'<mo stretchy="false">{brace}</mo>')
        writer.body.append(f'<{tag} class="math">{formula}</{tag}>')
        raise nodes.SkipNode

    return visit
