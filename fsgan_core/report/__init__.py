"""Reports for people after a render.

`write.write_report` writes the files of a report: `page` makes the page, `contact_sheet` the pictures
and the preview movie. `track_drawing` draws what an analysis found. `view_map` lays out a source's views by pose, and
`view_sheet` shows it as a picture or a table.
"""
