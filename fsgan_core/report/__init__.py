"""Reports for people and pipelines: a page, figures as JSON and CSV, contact sheet, preview movie, view map.

`write.make_report` reads every frame once (`looks`; a render hands on what it
has in memory, `kept_looks`), collects the player's pictures (`player_frames`), measures
(`measure`, `figures`), compares with the last report (`changes`) and puts everything into one structure (`data`). The
page (`player_page`, `plots`, `templates/`), report.json and report.csv are made from it. `gather` makes a report of
frames that are rendered already, `limits` checks what a pipeline asks for. `track_drawing` draws what an analysis
found. `view_map` lays out a source's views by pose, and `view_sheet` shows it as a picture or a table.
"""
