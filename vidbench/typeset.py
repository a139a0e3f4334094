"""A header and rows of cells → a table as aligned text, in Markdown, or in LaTeX; names may hold anything."""

import re
from collections.abc import Sequence

LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"[": "{[}", "]": "{]}", "*": "{*}"},  # these would be taken for arguments of the \\ before them
}


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, the first to the left, the others to the right.

    >>> print(as_text(["run", "top-1"], [["a", "50.0%"], ["longer", "7.0%"]]))
    run     top-1
    a       50.0%
    longer   7.0%
    """
    table = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join(lines)


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub shows it, numbers to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    escaped = [[markdown_escaped(cell) for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:]))


def as_latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A `tabular` that needs no package, numbers to the right."""
    lines = [" & ".join(map(latex_escaped, row)) + r" \\" for row in (header, *rows)]
    columns = "l" + "r" * (len(header) - 1)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
    return "\n".join([*body, r"\end{tabular}"])


def markdown_escaped(text: str) -> str:
    r"""Text as Markdown shows it unchanged, in a table too.

    >>> print(markdown_escaped("a|b_c"))
    a\|b\_c
    """
    return re.sub(r"([\\`*_|<>\[\]#~$])", r"\\\1", text.replace("&", "&amp;"))


def latex_escaped(text: str) -> str:
    r"""Text as LaTeX shows it unchanged, with a real minus before numbers.

    >>> print(latex_escaped("R&D_50%"), latex_escaped("-1.5"))
    R\&D\_50\% $-$1.5
    """
    escaped = "".join(LATEX.get(char, char) for char in text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)
