"""What the writer and the tab agree on."""

PLUGIN_NAME = "session"
#: the events of a run, as JSON
TAG = "session/events"
#: what went before a file, in figures and curves: the files before it may be gone
BEFORE_TAG = "session/before"
#: the last events as a table, for a TensorBoard without the tab
TABLE_TAG = "session/timeline/text_summary"
CONTENT = b'{"version":1}'
