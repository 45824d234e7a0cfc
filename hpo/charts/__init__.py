"""Charts as Vega-Lite specifications: plain data, which a page draws with hover and `drawing` turns into pictures."""
