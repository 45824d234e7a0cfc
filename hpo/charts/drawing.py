"""Charts as pictures, and the script with which a page draws them: both of vl-convert, without network or browser."""

from __future__ import annotations

import json
from functools import cache

from hpo.charts.looks import COLOURS, CONFIG, Spec, colour

WIDTH = 460
"""Of a picture's drawing area, in pixels: a page's charts take the width they are given."""


def picture(spec: Spec, width: int = WIDTH) -> str:
    """An SVG on white paper."""
    import vl_convert

    text = json.dumps(_still(spec)).replace('"width": "container"', f'"width": {width}')
    config = json.dumps({**CONFIG, "background": colour("paper")})
    for role, value in COLOURS.items():
        text, config = text.replace(colour(role), value), config.replace(colour(role), value)
    return vl_convert.vegalite_to_svg(text, config=json.loads(config))


def _still(spec: Spec) -> Spec:
    """The chart without the parts that only hovering makes visible."""
    if "vconcat" in spec:
        return {**spec, "vconcat": [_still(part) for part in spec["vconcat"]]}
    layers = [layer for layer in spec["layer"] if "params" not in layer and layer["mark"].get("opacity") != 0]
    return {**spec, "layer": layers}


@cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script for a `<script>` element; it sets `vegaEmbed`."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("Object.assign(window, { vegaEmbed });")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
