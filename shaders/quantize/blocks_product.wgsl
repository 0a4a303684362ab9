// y = a × b + bias, the weights b in blocks along k: b[k, n] = (q[n, k] - zero) · scale, one scale and zero point for each
// block of each column.
//
// Layout  a and y linear. b: for each column, block after block, the weights packed in bytes, BITS each, the lowest first.
//         t: the table of scales, zero points and biases, floats by their bits. ZERO: 0 zero points are 2^(BITS - 1), 1 they
//         are packed as the weights are, a whole number of bytes for each column, 2 they are floats.
// Work    one invocation takes one unit of y: four neighbouring results, each with its own walk along k.

#import common/index
#param units: u32
#param results: u32
#param k: u32
#param n: u32
#param block: u32
#param blocks: u32
#param scales: u32
#param zeros: u32
#param zero_bytes: u32  // of a column
#param bias: u32
#param bias_each: u32
#read a elements
#read b
#read t elements
#write y

const MASK = (1 << BITS) - 1;
const OF_UNIT = 32u / u32(BITS);

fn zero_of(column: u32, block: u32) -> f32 {
#if ZERO == 2
    return bitcast<f32>(get_t(params.zeros + column * params.blocks + block));
#else
#if ZERO == 1
    let at = block * u32(BITS);
    return f32((get_t(params.zeros + column * params.zero_bytes + at / 8u) >> (at % 8u)) & MASK);
#else
    return f32(1 << (BITS - 1));
#endif
#endif
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let unit = linear_index(workgroup, workgroups, local, 64u);
    if unit >= params.units {
        return;
    }
    let packed = params.block / OF_UNIT;
    var out = vec4<f32>();
    for (var e = 0u; e < 4u; e++) {
        // Beyond the last result, it is computed again.
        let result = min(unit * 4u + e, params.results - 1u);
        let column = result % params.n;
        let row = result / params.n * params.k;
        var sum = 0.0;
        for (var block = 0u; block < params.blocks; block++) {
            let line = column * params.blocks + block;
            let zero = zero_of(column, block);
            var part = 0.0;
            for (var u = 0u; u < packed; u++) {
                let bytes = load_b(line * packed + u);
                for (var j = 0u; j < OF_UNIT; j++) {
                    // The last block may reach beyond k.
                    let kk = block * params.block + u * OF_UNIT + j;
                    let bit = j * u32(BITS);
                    let weight = f32((bytes[bit / 8u] >> (bit % 8u)) & MASK) - zero;
                    part += select(0.0, get_a(row + min(kk, params.k - 1u)) * weight, kk < params.k);
                }
            }
            sum += part * bitcast<f32>(get_t(params.scales + line));
        }
        out[e] = sum + bitcast<f32>(get_t(params.bias + column * params.bias_each));
    }
    store_y(unit, out);
}
