"""How each kernel type is built, loaded and called, inside the cell. One file per type; the file name is the type. A
file whose name begins with an underscore is no type: types share it.

A backend file defines - `SPEC`: a literal dict the trusted side reads *without importing the file*
(`executor.catalog`): what the contract must say for this type, whether it needs a build cell, and how it answers; -
`load(source) -> Kernel`: import or prepare the user's code; - `build(source)`: only when `SPEC["build"]`; runs in a
build cell and leaves everything worth keeping in `source.artifacts`.

Adding a type is adding such a file here or in a folder of the setting `backend_paths`.
"""
