"""What the writer and the tab agree on."""

PLUGIN_NAME = "session"
#: the events of a run, as JSON
TAG = "session/events"
#: the last events as a table, for a TensorBoard without the tab
TABLE_TAG = "session/timeline/text_summary"
CONTENT = b'{"version":1}'
