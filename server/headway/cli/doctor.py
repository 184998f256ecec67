"""`headway doctor`"""

from .operator import operate
from .options import DataDir
from .printing import show


def doctor(data_dir: DataDir = None) -> None:
    """Check the record, the versions, the limits and the disk. Exit code 1 if something is wrong."""
    found = operate(data_dir, "doctor", {})
    faults = found.pop("faults")
    for name, value in found.items():
        show(f"{name:>15}  {value:,}" if isinstance(value, int) else f"{name:>15}  {value}")
    show(f"{'integrity':>15}  {'damaged' if faults else 'ok'}")
    for fault in faults:
        show(f"{'':>15}  {fault}")
    raise SystemExit(1 if faults else 0)
