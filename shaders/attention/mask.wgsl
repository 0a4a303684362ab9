// y = cap(s) + mask for the scores of each query and key, minus infinity where the query does not see the key: where a
// truth mask says so, behind the keys that a mask covers, behind those that are valid (VALID), and with `causal` behind the
// query's own place.
//
// Layout  s, y: rows of `keys` scores, one for each query, padded to whole units; [batch, heads, queries, keys].
//         MASK 1: numbers that are added; 2: truth values; linear, steps of 0 where it is repeated. VALID: how many keys of
//         each batch are valid; a query's own place is then counted from their end.
// Work    one invocation takes one unit.

#import common/index
#import common/math
#param units: u32
#param row_units: u32
#param keys: u32
#param queries: u32
#param heads: u32
#param softcap: f32
#param causal: u32
#param before: i32      // keys before the first query's own place
#if MASK
#param covered: u32     // keys that the mask covers
#param mask_batch: u32
#param mask_head: u32
#param mask_row: u32
#param mask_column: u32
#endif
#read s
#if MASK
#read mask elements
#endif
#if VALID
#read valid elements
#endif
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    let line = u / params.row_units;
    let query = line % params.queries;
    let head = (line / params.queries) % params.heads;
    let batch = line / (params.queries * params.heads);
    var seen = i32(params.keys);
    var place = params.before + i32(query);
#if VALID
    seen = clamp(get_valid(batch), 0, seen);
    place = seen - i32(params.queries) + i32(query);
#endif
    if params.causal != 0u {
        seen = min(seen, place + 1);
    }
#if MASK
    seen = min(seen, i32(params.covered));
#endif
    let hidden = -infinity4();
    var out = load_s(u);
    if params.softcap > 0.0 {
        out = params.softcap * tanh4(out / params.softcap);
    }
    for (var k = 0u; k < 4u; k++) {
        let key = (u % params.row_units) * 4u + k;
        var allowed = i32(key) < seen;
#if MASK
        let column = min(key, params.covered - 1u) * params.mask_column;
        let bias = get_mask(batch * params.mask_batch + head * params.mask_head + query * params.mask_row + column);
#endif
#if MASK == 1
        // Minus infinity, by its bits: WGSL knows no infinity.
        allowed = allowed && bitcast<u32>(bias) != 0xff800000u;
        out[k] += select(0.0, bias, allowed);
#endif
#if MASK == 2
        allowed = allowed && bias != 0;
#endif
        out[k] = select(hidden.x, max(out[k], -3.3e38), allowed);
    }
    store_y(u, out);
}
