// Which matrices of A and B the product `z` of a batch takes, as offsets in steps of `a_step_…` and `b_step_…`.
// The batch has up to three axes; the outermost needs no size. A step of 0 repeats an operand.

#param batch_1: u32
#param batch_2: u32
#param a_step_0: u32
#param a_step_1: u32
#param a_step_2: u32
#param b_step_0: u32
#param b_step_1: u32
#param b_step_2: u32

fn batch_offsets(z: u32) -> vec2<u32> {
    let i2 = z % params.batch_2;
    let i1 = z / params.batch_2 % params.batch_1;
    let i0 = z / params.batch_2 / params.batch_1;
    return vec2<u32>(
        i0 * params.a_step_0 + i1 * params.a_step_1 + i2 * params.a_step_2,
        i0 * params.b_step_0 + i1 * params.b_step_1 + i2 * params.b_step_2,
    );
}
