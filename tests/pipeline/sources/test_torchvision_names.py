"""Names of torchvision data sets: how they are written, and every mistake told in one line."""

import sys
from pathlib import Path

import pytest
from swiftsiam.pipeline.errors import UserError
from swiftsiam.pipeline.sources import open_source
from swiftsiam.pipeline.sources.torchvision_spec import absolute_data, are_same, read_spec
from swiftsiam.train.config import read_config
from torchvision import datasets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MNST,root=x", "torchvision has no data set MNST; did you mean MNIST"),
        ("Qqqq,root=x", "torchvision has no data set Qqqq; one of CIFAR10, CIFAR100, "),
        ("MNIST", "root is not given; add ,root=DIR"),
        ("MNIST,root=", "root is not given; add ,root=DIR"),
        ("EMNIST,root=x", "split is not given; add ,split=VALUE"),
        ("MNIST,root=x", "Dataset not found; add download=true, or check root"),
        ("SEMEION,root=x", "Dataset not found or corrupted; add download=true"),
        ("ImageFolder,root=x", "No such file or directory: .*; check root"),
        ("ImageNet,root=x", "devkit_t12.tar.gz is not present in the root .*; check root"),
        ("SVHN,root=x,split=trein", "'trein' for argument split.*'extra'}; check the arg"),
        ("MNIST,root=x,trains=true", "it takes no argument trains; did you mean train?"),
        ("MNIST,root=x,zzz=1", "no argument zzz; it takes root, train, download$"),
        ("MNIST,root=x,transform=1", "transform is a function, which has no name here"),
        ("ImageFolder,root=x,loader=1", "loader is a function"),
        ("MNIST,root=x,root=y", "root stands twice; give it once"),
        ("MNIST,x,root=y", "'x' is no key=value; write it as torchvision:Flowers102,root="),
        ("", "no name of a data set; write it as"),
        ("FakeData,size=0", "holds no pictures; check the arguments"),
    ],
)
def test_mistakes_are_told_in_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        open_source(f"torchvision:{text}", field="DATA")
    assert str(caught.value).startswith(f"DATA=torchvision:{text.partition(',')[0]}")
    assert "\n" not in str(caught.value)


def test_a_failed_download_and_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(datasets.MNIST, "download", fail)
    with pytest.raises(UserError, match=r"cannot be downloaded \(no route\); check the network"):
        open_source(f"torchvision:MNIST,root={tmp_path},download=true")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="needs h5py, which is not installed; pip install h5py"):
        open_source(f"torchvision:PCAM,root={tmp_path}")


def test_values_are_what_they_look_like() -> None:
    spec = read_spec("torchvision:A,root=/a,b=c,x=true,y=-3,z=2021_train,s=3,2,t=one,,n=null")
    assert spec.arguments == {
        "root": "/a", "b": "c", "x": True, "y": -3, "z": "2021_train", "s": [3, 2], "t": ["one"],
        "n": None,
    }  # fmt: skip
    assert read_spec("torchvision:A,root=/a,b,k=1").values["root"] == "/a,b"


def test_a_root_means_the_same_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        str(absolute_data("torchvision:A,k=1,root=~/x")) == f"torchvision:A,k=1,root={tmp_path}/x"
    )
    monkeypatch.chdir(tmp_path)
    config = read_config("demo", ["data.path=torchvision:A,root=d"])
    assert config.data.path == f"torchvision:A,root={tmp_path}/d"
    assert are_same("torchvision:A,root=d,train=true", "torchvision:A,train=true,root=~/d")
    assert are_same("torchvision:A,root=d,download=true", "torchvision:A,root=d")
    assert not are_same("torchvision:A,root=d,train=true", "torchvision:A,root=d,train=false")
    assert not are_same("torchvision:A,root=d", tmp_path)
    assert are_same(tmp_path, str(tmp_path))
