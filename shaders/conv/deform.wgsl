// seen[n, c, k, p] = m[n, k, p] · x[n, c, p·stride − before + k·dilation + moves[n, k, p]]: what the elements k of a moved
// kernel see at the output p, over up to three axes. x is read linearly between its elements, with zeros around it.
//
// Layout  all linear. moves: [N, groups, taps, axes, positions], mask (MASK): [N, groups, taps, positions]; `together`
//         channels make a group.
// Work    one invocation computes one unit of `seen`, each element from scratch.

#import common/index
#read x elements
#read moves elements
#if MASK
#read mask elements
#endif
#write seen
#param units: u32
#param elements: u32
#param channels: u32
#param together: u32
#param rank: u32
#param input_z: u32
#param output_z: u32
#param kernel_z: u32
#param stride_z: u32
#param dilation_z: u32
#param before_z: u32
#import conv/window

// The two neighbours of a place along an axis: the first one's index, and the part of the second.
struct Place {
    low: i32,
    part: f32,
}

fn place(o: u32, stride: u32, k: u32, dilation: u32, before: u32, moved: f32, size: u32) -> Place {
    let at = clamp(f32(i32(o * stride + k * dilation) - i32(before)) + moved, -2.0, f32(size) + 1.0);
    let base = floor(at);
    return Place(i32(base), at - base);
}

fn element(e: u32) -> f32 {
    let positions = params.output_z * params.output_y * params.output_x;
    let taps = params.kernel_z * params.kernel_y * params.kernel_x;
    let at = e % positions;
    let tap = (e / positions) % taps;
    let map = e / (positions * taps);
    let groups = params.channels / params.together;
    let group = map / params.channels * groups + map % params.channels / params.together;
    let row = group * taps + tap;
    let own = row * params.rank * positions + at;
    // The last axis is the innermost.
    let last = own + (params.rank - 1u) * positions;
    let kx = tap % params.kernel_x;
    let ox = at % params.output_x;
    let x = place(ox, params.stride_x, kx, params.dilation_x, params.before_x, get_moves(last), params.input_x);
    var y = Place(0, 0.0);
    var z = Place(0, 0.0);
    if params.rank > 1u {
        let ky = tap / params.kernel_x % params.kernel_y;
        let oy = at / params.output_x % params.output_y;
        let moved = get_moves(last - positions);
        y = place(oy, params.stride_y, ky, params.dilation_y, params.before_y, moved, params.input_y);
    }
    if params.rank > 2u {
        let kz = tap / (params.kernel_x * params.kernel_y);
        let oz = at / (params.output_x * params.output_y);
        z = place(oz, params.stride_z, kz, params.dilation_z, params.before_z, get_moves(own), params.input_z);
    }
    var sum = 0.0;
    for (var k = 0; k < 8; k++) {
        let near = vec3<i32>(k & 1, (k >> 1u) & 1, k >> 2u);
        let cell = vec3<i32>(x.low, y.low, z.low) + near;
        let weights = select(vec3<f32>(1.0 - x.part, 1.0 - y.part, 1.0 - z.part), vec3<f32>(x.part, y.part, z.part), near == vec3<i32>(1));
        let sizes = vec3<i32>(i32(params.input_x), i32(params.input_y), i32(params.input_z));
        if all(cell >= vec3<i32>(0)) && all(cell < sizes) {
            let c = vec3<u32>(cell);
            let v = get_x(((map * params.input_z + c.z) * params.input_y + c.y) * params.input_x + c.x);
            sum += v * (weights.x * weights.y * weights.z);
        }
    }
#if MASK
    sum *= get_mask(row * positions + at);
#endif
    return sum;
}

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
    let last = params.elements - 1u;
    let e = u * 4u;
    store_seen(u, seen_unit(element(e), element(min(e + 1u, last)), element(min(e + 2u, last)), element(min(e + 3u, last))));
}
