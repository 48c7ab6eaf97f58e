"""Files: Parquet in the Hugging Face image-dataset layout, the same bytes on every run."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
STRINGS = pa.list_(pa.field("element", pa.string()))
FEATURES = {IMAGE: {"_type": "Image"}, STRINGS: {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}}


def write(path: Path, columns: dict[str, tuple[pa.DataType, list]], sources: dict[str, str], rows_a_group: int) -> None:
    """Write columns `name -> (type, values)`; `sources` says in the file's metadata where each column comes from."""
    features = {name: FEATURES.get(kind, {"dtype": "string", "_type": "Value"}) for name, (kind, _) in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}}), "sources": json.dumps(sources)}
    schema = pa.schema([pa.field(name, kind) for name, (kind, _) in columns.items()], metadata=metadata)
    arrays = [pa.array(values, type=kind) for kind, values in columns.values()]
    texts = [name for name, (kind, _) in columns.items() if kind == pa.string()] + [
        f"{name}.list.element" for name, (kind, _) in columns.items() if kind == STRINGS]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays, schema=schema), path, compression="snappy", version="1.0", data_page_version="1.0",
                   row_group_size=rows_a_group, use_dictionary=texts, write_statistics=False, store_schema=True)
