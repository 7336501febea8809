"""`keras-session schema`."""

import click

from keras_session_ext.cli.output import Output, command


@command()
def schema(out: Output) -> None:
    """Prints the JSON Schema of configs, for editors.

    Save it beside a config and begin the config with
    `# yaml-language-server: $schema=config.schema.json`.
    """
    from keras_session_ext.config.schema_file import schema_text

    click.echo(schema_text().rstrip("\n"))  # JSON in any case
