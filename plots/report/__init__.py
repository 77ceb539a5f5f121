"""One page with all results: `retrieval-gap report` writes `index.html`, which needs no network and no other file.

The page depends on the columns of the tables, not on names of tasks.  All untrusted text (names, options, what a model
wrote) is escaped by Jinja or enters the page as text nodes, and a content security policy lets only two scripts run,
the project's own and Vega's, by their hashes.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from retrieval_gap.experiments.trained.rows import chance_of
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_folder, write_text

from .charts import ACCURACY, CURVE, LEARNED, legend, lines
from .columns import COLUMNS, FIRST, filters_of, table_rows
from .drawn import drawn_figures
from .published import published_section
from .sources import Gathered, gather

VEGA_LITE = "6.1"


def write_report(out: Path, runs_dirs: Sequence[Path], tables: Sequence[Path]) -> Path:
    """Write `out/index.html`; return its path.

    runs_dirs, tables: if both are empty, `runs`, if it exists, and every table of runs in results/.
    Raises UsageError for an invalid table or folder, for a missing package, and if there is no row at all.
    """
    gathered, vega = gather(runs_dirs, tables), _vega_bundle()
    make_folder(out)
    page = out / "index.html"
    write_text(page, _render(gathered, vega))
    return page


def _render(gathered: Gathered, vega: str) -> str:
    environment = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # also keeps keys in their order
    here = files(__name__)
    names = ("page.css", "page.js", "memories.js", "page.html")
    css, *scripts, template = (here.joinpath(name).read_text("utf-8") for name in names)
    script = "\n".join(scripts)
    rows = [entry.row for entry in gathered.entries]
    return environment.from_string(template).render(
        summary=gathered.summary(),
        notes=gathered.notes,
        sources=gathered.sources,
        filters=filters_of(rows),
        columns=COLUMNS,
        first=FIRST,
        rows=table_rows(gathered.entries),
        figures=drawn_figures(gathered),
        published=published_section(gathered.entries),
        curves=len(gathered.curves),
        sampled=[(i, entry.label) for i, entry in enumerate(gathered.entries) if i in gathered.samples],
        memories=[(i, memory["label"]) for i, memory in enumerate(gathered.memories)],
        data=_page_data(gathered),
        css=Markup(css),
        vega=Markup(vega),
        script=Markup(script),
        hashes=[_csp_hash(vega), _csp_hash(script)],
    )


def _page_data(gathered: Gathered) -> dict[str, Any]:
    """What the page's script reads; `i` numbers the rows."""
    rows = [entry.row for entry in gathered.entries]
    return {
        "rows": [
            _plain(entry.row) | {"chance": chance_of(entry.row), "i": i, "source": entry.where}
            for i, entry in enumerate(gathered.entries)
        ],
        "lines": lines(rows),
        "curves": gathered.curves,
        "learned": gathered.learned,
        "samples": gathered.samples,
        "memories": gathered.memories,
        "environments": {i: _plain(start) for i, start in gathered.environments.items()},
        "charts": {"accuracy": ACCURACY, "curve": CURVE, "learned": LEARNED},
        "legend": legend(rows),
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with None for numbers that JSON cannot hold."""
    return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in values.items()}


@cache
def _vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script.  Raises UsageError if the package that holds them is absent."""
    try:
        import vl_convert
    except ImportError as error:
        raise UsageError("a report needs vl-convert-python; pip install 'retrieval-gap[report]' brings it") from error
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return bundle.replace("</script", "<\\/script")


def _csp_hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
