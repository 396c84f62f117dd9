import subprocess
import sys

import bandits


def test_the_room_imports_no_other():
    code = (
        "import sys, pkgutil, importlib, bandits\n"
        "for m in pkgutil.iter_modules(bandits.__path__, 'bandits.'):\n"
        "    importlib.import_module(m.name)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert 'bandits' in loaded\n"
        "sys.exit(' '.join(loaded & {'encoders', 'markets', 'finetune', 'service'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_once():
    assert len(set(bandits.__all__)) == len(bandits.__all__)
    assert all(getattr(bandits, name) is not None for name in bandits.__all__)
