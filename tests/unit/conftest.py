import pytest


@pytest.fixture
def call(capsys):
    """Runs a command of keras-session in this process; returns its exit status, stdout and stderr."""
    from keras_session_ext.cli import main

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main.main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call
