"""Charts as SVG text: no scripts, colours by CSS variables, few elements however many points."""
