"""Speed, measured side by side with what people use today: `tox -e bench`, or `tox -e bench`."""
