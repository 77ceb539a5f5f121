"""The retrieval gap on IsTree: accuracy of every model, in a panel for each view.

After the first IsTree figure of "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025).  A table with
several problem sizes gives lines over n; a table with one gives a list of models.
"""

from matplotlib.figure import Figure

from . import by_model, by_size
from .caption import caption, title
from .results import Results


def draw_figure(results: Results) -> Figure:
    """Raises UsageError for a table without IsTree rows."""
    istree = results.only(task="istree")
    form = by_size if len(istree.ns) > 1 else by_model
    return form.draw(istree, title(istree), caption(istree))
