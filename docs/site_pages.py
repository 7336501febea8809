"""What the site shows of files that stand elsewhere: README is its first page, CHANGELOG its last."""

import os
import re

from mkdocs.structure.files import File


def on_files(files, config):
    root = os.path.dirname(config.config_file_path)
    for name, source in (("index.md", "README.md"), ("changelog.md", "CHANGELOG.md")):
        with open(os.path.join(root, source), encoding="utf-8") as handle:
            text = handle.read().replace("](docs/", "](")
        text = re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)]*/(?:README\.md)?\)", r"\1", text)  # folders have no page
        text = re.sub(r"\[([^\]]*)\]\((?:CONTRIBUTING\.md|LICENSE|benchmarks/[^)]*|examples/[^)]*)\)", r"\1", text)
        text = text.replace("](CHANGELOG.md)", "](changelog.md)")
        files.append(File.generated(config, name, content=text))
    return files
