"""Arrays as NumPy writes them, with their values: python npy_arrays.py > test/fixtures/npy-arrays.json"""

import base64
import io
import json

import numpy as np

values = np.arange(6).reshape(2, 3)
arrays = {
    **{name: values.astype(name) for name in ["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"]},
    **{name: (values / 4 - 1).astype(name) for name in ["<f2", "<f4", "<f8"]},
    "bool": values % 2 == 0,
    "column-major": np.asfortranarray(values.astype("<f4")),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), "<f4"),
    "three dimensions": np.arange(8, dtype="<i4").reshape(2, 2, 2),
}
refused = {
    "big-endian": values.astype(">f4"),
    "complex numbers": values.astype("<c8"),
    "texts": np.array(["a", "bc"]),
    "records": np.zeros(2, [("x", "<f4"), ("y", "<i4")]),
}


def written(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version=version)
    return base64.b64encode(file.getvalue()).decode()


rows = [{"name": name, "file": written(array), "values": np.asarray(array).tolist()} for name, array in arrays.items()]
for version in [(2, 0), (3, 0)]:
    array = arrays["<f4"]
    rows.append({"name": f"version {version[0]}", "file": written(array, version), "values": array.tolist()})
rows += [{"name": name, "file": written(array)} for name, array in refused.items()]
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
