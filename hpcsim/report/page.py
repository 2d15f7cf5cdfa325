"""HTML of which every text is escaped, and a page that needs nothing but itself."""

import base64
import hashlib
import html
import re

STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
body { max-width: 70rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; border-bottom: 1px solid #d5dae0; }
p { margin: 0.4rem 0; }
.quiet { color: #57606a; font-size: 0.9rem; }
.badge { display: inline-block; padding: 0 0.5rem; margin: 0.1rem 0.3rem 0.1rem 0; border-radius: 0.6rem; }
.pass { background: #dcf3e3; color: #0b5227; }
.fail { background: #fde0dc; color: #8a1408; }
.note { background: #e8edf3; color: #1b1f24; }
ul.warnings { background: #fff5d6; border-left: 4px solid #c99700; padding: 0.5rem 1rem 0.5rem 2rem; margin: 0.5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; margin: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0; border-bottom: 1px solid #e6e9ed; }
td { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f7f9; padding: 0.75rem; font-size: 0.85rem; }
summary { cursor: pointer; padding: 0.25rem 0; }
figure { margin: 1rem 0; }
figure button { border: 0; padding: 0; background: none; cursor: zoom-in; max-width: 100%; }
figure img { max-width: 100%; height: auto; display: block; }
dialog { width: 96vw; height: 94vh; max-width: none; max-height: none; padding: 0; border: 1px solid #888; }
dialog .bar { position: sticky; top: 0; left: 0; background: #fff; padding: 0.3rem; z-index: 1; }
dialog .bar button { font-size: 1rem; min-width: 2.5rem; }
dialog img { display: block; width: 100%; max-width: none; }
@media (max-width: 44rem) {
  table, tbody, tr, td { display: block; width: auto; }
  thead { display: none; }
  tr { border-bottom: 1px solid #b9c0c8; padding: 0.4rem 0; }
  td { border: 0; padding: 0.1rem 0; }
  td[data-label]:not([data-label=""])::before { content: attr(data-label) ": "; color: #57606a; }
  td:empty { display: none; }
}
@media print { dialog { display: none; } }
"""

SCRIPT = """
const view = document.querySelector('dialog'), image = view.querySelector('img');
let scale = 1;
function zoom(factor) {
  scale = Math.min(16, Math.max(0.25, scale * factor));
  image.style.width = 100 * scale + '%';
}
for (const button of document.querySelectorAll('figure button')) {
  button.addEventListener('click', () => {
    image.src = button.firstElementChild.src;
    image.alt = button.firstElementChild.alt;
    scale = 1;
    zoom(1);
    view.showModal();
  });
}
for (const button of view.querySelectorAll('button[value]')) {
  button.addEventListener('click', () => button.value === 'close' ? view.close() : zoom(Number(button.value)));
}
view.addEventListener('wheel', event => {
  if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 1.25 : 0.8); }
}, { passive: false });
"""

MARK = "<!-- made by hpcsim report -->"
VOID = ("img", "meta")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """HTML. Any other str is text, which `tag` escapes."""


def tag(name: str, /, *children, **attributes) -> Markup:
    """An element; `kind` and `label` stand for the attributes class and data-label, None leaves one out."""
    names = {"kind": "class", "label": "data-label"}
    given = "".join(f' {names.get(k, k)}="{_escaped(v)}"' for k, v in attributes.items() if v is not None)
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children) -> Markup:
    return Markup("".join(child if isinstance(child, Markup) else _escaped(child) for child in children))


def _escaped(text) -> str:
    return html.escape(CONTROL.sub("\ufffd", str(text)), quote=True)


def table(head, rows) -> Markup:
    """With one heading for each column; a narrow page shows each row as lines `heading: cell`."""
    body = [tag("tr", *(tag("td", cell, label=name) for name, cell in zip(head, row))) for row in rows]
    heads = tag("tr", *(tag("th", name, scope="col") for name in head))
    return tag("table", tag("thead", heads), tag("tbody", *body))


def picture(svg: bytes, alt: str, width: int) -> Markup:
    """A figure that a click enlarges. As an image, an SVG runs no script and loads nothing."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    image = tag("img", src=source, alt=alt, width=width)
    return tag("figure", tag("button", image, type="button", title="Click to enlarge"))


def document(title: str, *sections) -> str:
    """The whole page. Its policy lets no script run but its own, and nothing be loaded."""
    own = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{own}'"
    buttons = (("1.5", "+"), ("0.6666666667", "−"), ("close", "Close"))
    bar = tag("div", *(tag("button", text, type="button", value=value) for value, text in buttons), kind="bar")
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_escaped(policy)}">'),
        tag("title", title),
        tag("style", Markup(STYLE)),
    ]
    enlarged = tag("dialog", bar, tag("img", alt=""))
    body = tag("body", *sections, enlarged, tag("script", Markup(SCRIPT)))
    return f"<!DOCTYPE html>\n{MARK}\n" + tag("html", tag("head", *head), body, lang="en") + "\n"
