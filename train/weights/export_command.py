"""`swiftsiam export`: trained weights for other tools."""

from ...pipeline.arguments import Parser, user_path
from .export import LAYOUTS, export
from .trained import ACCEPTED, load_trained


def main(argv: list[str]) -> int:
    """Write the weights and say how they are loaded; 0 when done."""
    parser = Parser(
        prog="swiftsiam export",
        description="Trained weights as other tools load them; every bit stays.",
        epilog="Layouts: " + "; ".join(f"{name}: {row.what}" for name, row in LAYOUTS.items()),
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=user_path, help=ACCEPTED)
    parser.add_argument("--to", required=True, choices=LAYOUTS, help="the layout")
    parser.add_argument(
        "out", metavar="OUT", type=user_path, help="the file to write; huggingface: the folder"
    )
    args = parser.parse_args(argv)
    trained = load_trained(args.checkpoint)
    usage = export(trained, args.to, args.out)
    print(f"{trained.path} -> {args.out}; load it by:\n{usage}")
    return 0
