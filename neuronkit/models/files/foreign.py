"""Recognises files that are not checkpoints, so that the message can say what to do instead."""

from __future__ import annotations


class Foreign(ValueError):
    """The file is of another kind.

    Args:
        what: What it is, with its article.
        remedy: What to do, as an imperative.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


_UNPACK = "unpack it, and give the checkpoint inside"
_SAVE = "save the model's state dict with torch.save"
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the file", "fetch the file with `git lfs pull`"),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"\x89HDF", "an HDF5 file, as Keras writes", "convert the weights to PyTorch first"),
    (b"\x93NUMPY", "a NumPy array", _SAVE),
    (b"GGUF", "a GGUF file", "give the weights in PyTorch's format"),
    (b"%PDF", "a PDF document", "give the checkpoint"),
    (b"\x89PNG", "a PNG picture", "give the checkpoint"),
    (b"\xff\xd8\xff", "a JPEG picture", "give the checkpoint"),
    (b"\x7fELF", "a program", "give the checkpoint"),
)
# Field tags of ONNX's ModelProto that come after the format number.
_ONNX_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)


def recognise(head: bytes) -> Foreign | None:
    """Say which other kind of file begins like this.

    Args:
        head: The first 1024 bytes, or all of a shorter file.
    """
    if not head.strip(b"\x00"):
        return Foreign("an empty file" if not head else "a file of zeros", "copy or download it again")
    for signature, what, remedy in _SIGNATURES:
        if head.startswith(signature):
            return Foreign(what, remedy)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        kind = "an XML page" if text.startswith(b"<?xml") else "an HTML page"
        return Foreign(kind, "download the file that the page links to, not the page")
    if text[:1] in (b"{", b"["):
        return Foreign("a JSON text", "give the file of the weights that belongs to it")
    if head[257:262] == b"ustar":
        old = head.startswith((b"sys_info\0", b"pickle\0", b"storages\0", b"tensors\0"))
        what = "a tar file of torch before 0.2" if old else "a tar archive"
        return Foreign(what, "load it with torch 1.13 and save it again" if old else _UNPACK)
    if len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 0x20 and head[2] in _ONNX_FIELDS:
        return Foreign("an ONNX model", "give the PyTorch weights that it was exported from")
    return None
