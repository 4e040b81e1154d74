"""Charts of the panel: values in, SVG text out. Pure: no store, no clock."""
