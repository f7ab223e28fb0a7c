"""`python damaged_engines.py ENGINE COUNT FOLDER SET…`: an engine reads sets that are damaged.

Each of the sets is copied to FOLDER, one file of it damaged, and all its pictures are read through
the loader. A line of JSON is written when a case begins, and one with what came of it.
"""

import json
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np
import torch
from swiftsiam.pipeline.augment.spec import AugmentConfig, build_eval_spec
from swiftsiam.pipeline.building import build_loader
from swiftsiam.pipeline.decode import decode_rgb
from swiftsiam.pipeline.errors import BadSampleError, UserError
from swiftsiam.pipeline.sources import Source, open_source
from swiftsiam.pipeline.sources.manifest import Manifest

SPECS = (build_eval_spec(AugmentConfig(size=16)),)


def main(engine: str, count: str, folder: str, *sets: str) -> None:
    """All cases; each is its number's."""
    reader = Reader(engine)
    for number in range(int(count)):
        random = np.random.default_rng(number)
        name = Path(sets[number % len(sets)])
        data = copy(name, Path(folder) / str(number))
        tell(damaged=f"case {number}: {damage(data, random)}")
        try:
            came = reader.examine(data, name)
        except Exception:
            came = {"error": traceback.format_exc()}
        tell(**came)
        shutil.rmtree(Path(folder) / str(number))


def tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def copy(original: Path, folder: Path) -> Path:
    """A set of its own, under the same name."""
    if original.is_dir():
        return Path(shutil.copytree(original, folder / original.name))
    folder.mkdir()
    for path in files_of(original):
        shutil.copy(path, folder)
    return folder / original.name


def files_of(data: Path) -> list[Path]:
    return sorted(data.iterdir() if data.is_dir() else data.parent.glob(f"{data.name}*"))


def damage(data: Path, random: np.random.Generator) -> str:
    """Change one file, mostly a shard, in or near the head of a picture. Says what was done."""
    manifest, files = Manifest(data), files_of(data)
    shards = [path for path in files if path.name in manifest.head.files]
    arrays = [path for path in files if path.suffix == ".npz"]
    chosen = (shards, arrays, files)[int(random.choice(3, p=[0.65, 0.2, 0.15]))]
    path = chosen[int(random.integers(len(chosen)))]
    changed = bytearray(path.read_bytes())
    low, high = 0, len(changed)
    if chosen is shards and random.random() < 0.8:
        rows = np.flatnonzero(manifest["shard"] == shards.index(path))
        row = random.choice(rows)
        low = int(manifest["offset"][row])
        high = low + min(int(manifest["length"][row]), 700)
    place, run = int(random.integers(low, high)), int(random.integers(1, 64))
    kinds = ["flips", "noise", "zeros", "filled", "cut", "inserted", "removed"]
    kind = random.choice(kinds, p=[0.4, 0.2, 0.2, 0.1, 0.04, 0.03, 0.03])
    if kind == "flips":
        for at in random.integers(low, high, int(random.integers(1, 9))).tolist():
            changed[at] ^= 1 << int(random.integers(8))
    elif kind == "noise":
        changed[place : place + run] = random.bytes(len(changed[place : place + run]))
    elif kind == "zeros":
        changed[place : place + 40 * run] = bytes(len(changed[place : place + 40 * run]))
    elif kind == "filled":  # as a download that stopped in a file of its full size
        changed[place:] = bytes(len(changed) - place)
    elif kind == "cut":
        del changed[place:]
    elif kind == "inserted":
        changed[place:place] = random.bytes(run)
    else:
        del changed[place : place + run]
    path.write_bytes(changed)
    return f"{path.name}: {kind} at {place}"


class Reader:
    """Reads damaged sets with an engine, and compares what it gives with what lies in them."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._whole: dict[Path, tuple[list[bytes], dict[int, torch.Tensor]]] = {}

    def examine(self, data: Path, original: Path) -> dict[str, object]:
        """What comes of it. Raises AssertionError where it is not what it must be."""
        if original not in self._whole:
            source = open_source(original)
            views, _ = read("torchvision", source)
            self._whole[original] = [source.read(index) for index in range(len(source))], views
        files, views = self._whole[original]
        try:
            source = open_source(data)
            given, bad = read(self._engine, source)
        except UserError as error:
            return {"refused": check_line(str(error))}
        expected: dict[int, torch.Tensor] = {}
        num_same = 0
        for index in range(len(source)):
            reason = None
            try:
                file = source.read(index)
                decode_rgb(file)
            except BadSampleError as error:
                reason = str(error)
            if reason is not None:
                assert (bad[index].key, bad[index].reason) == (source.key(index), reason)
                check_line(reason)
                continue
            assert index not in bad, bad[index]
            is_same = index < len(files) and file == files[index]
            if not is_same and not expected:
                expected, _ = read("torchvision", source)
            assert torch.equal(given[index], (views if is_same else expected)[index]), index
            num_same += is_same
        num_changed = len(source) - len(bad) - num_same
        return {"bad": len(bad), "same": num_same, "changed": num_changed}


def read(engine: str, source: Source) -> tuple[dict[int, torch.Tensor], dict]:
    """Index → view, and the bad samples."""
    rows = {}
    loader = build_loader(
        source=source, specs=SPECS, global_batch_size=6, train=False, engine=engine
    )
    with loader:
        for batch in loader:
            for row in np.flatnonzero(batch.mask.numpy()):
                rows[int(batch.index[row])] = batch.views[0][row].clone()
        return rows, loader.bad_samples


def check_line(text: str) -> str:
    assert text.isprintable(), text
    assert len(text) < 1000, text
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
