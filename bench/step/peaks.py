"""What GPUs can compute at most: operations a second on dense matrices in bf16 or fp16, as NVIDIA publishes them.

Names are those that the driver gives, and have to match whole: parts of a GPU, or the same chip with other clocks, are not
the same. Where a data sheet gives figures "with sparsity", half of that is the dense one. A GPU that is not here has no
MFU until its user says `--peak-tflops`.
"""

# Name -> (TFLOP/s, where that is from).
TFLOPS = {
    "NVIDIA H200": (989.0, "H200 data sheet, SXM: 1979 with sparsity"),
    "NVIDIA H100 80GB HBM3": (989.0, "H100 data sheet, SXM: 1979 with sparsity"),
    "NVIDIA H100 PCIe": (756.0, "H100 data sheet, PCIe: 1513 with sparsity"),
    "NVIDIA A100-SXM4-80GB": (312.0, "A100 data sheet"),
    "NVIDIA A100-SXM4-40GB": (312.0, "A100 data sheet"),
    "NVIDIA A100 80GB PCIe": (312.0, "A100 data sheet"),
    "NVIDIA A100-PCIE-40GB": (312.0, "A100 data sheet"),
    "NVIDIA L40S": (362.0, "L40S data sheet"),
    "NVIDIA L4": (121.0, "L4 data sheet: 242 with sparsity"),
    "NVIDIA A30": (165.0, "A30 data sheet"),
    "NVIDIA A10": (125.0, "A10 data sheet"),
}


def peak(name, given=None):
    """TFLOP/s and their source: what the user says, or the table; none where neither knows."""
    if given:
        return given, "as given by --peak-tflops"
    return TFLOPS.get(name, (None, None))
