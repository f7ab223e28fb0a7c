"""What `bench loader` prints."""

from rich.console import Console
from rich.table import Table

from .results import Record


def show(records: list[Record]) -> None:
    console = Console(highlight=False)
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["scope"] == "loader":
            groups.setdefault(record.get("name", "contestants"), []).append(record)
    for title, group in groups.items():
        console.print(_build_table(title, group))
    print(
        "core-ms: core time an image; p50, p99: time between batches; start: from the process's "
        "start to its first batch; MB: at peak"
    )
    for record in groups["contestants"]:
        print(f"  {record['engine']}: {record['work']}")
    for record in groups["contestants"]:
        if "stages_ms_per_image" in record:
            told = [f"{name} {ms:.3f}" for name, ms in record["stages_ms_per_image"].items()]
            print(f"  {record['engine']}, workers' ms an image: {', '.join(told)}")


def _build_table(title: str, records: list[Record]) -> Table:
    table = Table(title=f"loader scope: images to two views; {title}", title_justify="left")
    table.add_column("contestant", no_wrap=True)
    heads = ("core-ms", "images/s", "p50, p99 ms", "start s", "MB")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    is_race = title == "contestants"
    key = "engine" if is_race else "format" if title == "formats" else "num_workers"
    through = [record for record in records if "failure" not in record]
    ordered = (
        sorted(through, key=lambda r: r["core_ms_per_image"]["median"]) if is_race else through
    )
    for record in ordered:
        rate = record["images_per_s"]
        table.add_row(
            str(record[key]),
            f"{record['core_ms_per_image']['median']:.2f}",
            f"{rate['median']:,.0f} ± {rate['iqr'] / 2:,.0f}",
            f"{record['batch_ms']['p50']:.0f}, {record['batch_ms']['p99']:.0f}",
            f"{record['start_s']:.1f}",
            f"{record['peak_memory_mb']:,.0f}",
        )
    for record in records:
        if "failure" in record:
            table.add_row(str(record[key]), "failed", "", "", "", "")
    return table
