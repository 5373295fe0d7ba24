"""Population count and bit reversal by inline PTX, the second with two results at once."""

import triton
import triton.language as tl


@triton.jit
def bits(x, counts, turned, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    value = tl.load(x + at, mask=inside, other=0)
    count = tl.inline_asm_elementwise("popc.b32 $0, $1;", "=r,r", [value], dtype=tl.int32, is_pure=True, pack=1)
    turn, again = tl.inline_asm_elementwise(
        """
        {
            .reg .b32 once;
            brev.b32 once, $2;
            mov.b32 $0, once;
            brev.b32 $1, once;
        }
        """,
        "=&r,=&r,r",
        [value],
        dtype=(tl.int32, tl.int32),
        is_pure=True,
        pack=1,
    )
    tl.store(counts + at, count + (again - value), mask=inside)
    tl.store(turned + at, turn, mask=inside)
