"""The guide: one Markdown file for each topic, which `gallery guide` and the page's Help show."""
