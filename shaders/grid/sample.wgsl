// y[n, c, p] = Σ w_k · x[n, c, k] over the neighbours k of the place grid[n, p], up to TAPS of them along each of up to
// three axes: the nearest (1), linear between two (2), cubic between four (4).
//
// Layout  x, grid, y: linear. A grid's coordinates stand innermost axis first.
// Work    one invocation computes one unit: four neighbouring elements of y, each from scratch.

#import common/index
#param units: u32
#param elements: u32
#param channels: u32
#param positions: u32
#param axes: u32
#param input_z: u32
#param input_y: u32
#param input_x: u32
#param align: u32
#param padding: u32     // 0 zeros, 1 the border, 2 the reflection
#read x elements
#read grid elements
#write y

// The neighbours along an axis: their indices, −1 for a zero outside, and their weights.
struct Taps {
    index: array<i32, TAPS>,
    weight: array<f32, TAPS>,
}

// A place reflected at the borders until it is inside.
fn reflect_at(at: f32, length: f32) -> f32 {
    let low = select(-0.5, 0.0, params.align == 1u);
    let high = length - 1.0 - low;
    let range = high - low;
    if at >= low && at <= high {
        return at;
    }
    if range <= 0.0 {
        return low;
    }
    let over = select(at - high, low - at, at < low);
    let turns = trunc(over / range);
    let rest = over - turns * range;
    let even = turns - 2.0 * trunc(turns * 0.5) == 0.0;
    return select(high - rest, low + rest, even == (at < low));
}

// A place brought into the picture, or, with zeros around it, not further than a few elements outside.
fn bring(at: f32, length: f32) -> f32 {
    if params.padding == 0u {
        return clamp(at, -4.0, length + 4.0);
    }
    if params.padding == 1u {
        return clamp(at, 0.0, length - 1.0);
    }
    return reflect_at(at, length);
}

// The element at a whole place.
fn index_at(at: f32, size: u32) -> i32 {
    let length = f32(size);
    if params.padding == 0u && !(at >= 0.0 && at < length) {
        return -1;
    }
    var inside = at;
    if params.padding == 2u {
        inside = reflect_at(at, length);
    }
    return clamp(i32(clamp(inside, 0.0, length - 1.0)), 0, i32(size) - 1);
}

#if TAPS == 4
// Keys' cubic convolution with −0.75, at a distance.
fn keys(t: f32) -> f32 {
    let near = (1.25 * t - 2.25) * t * t + 1.0;
    let far = ((-0.75 * t + 3.75) * t - 6.0) * t + 3.0;
    return select(far, near, t <= 1.0);
}
#endif

fn taps(coordinate: f32, size: u32) -> Taps {
    var found: Taps;
    let length = f32(size);
    let at = select(((coordinate + 1.0) * length - 1.0) / 2.0, (coordinate + 1.0) / 2.0 * (length - 1.0), params.align == 1u);
#if TAPS == 1
    found.index[0] = index_at(bring(round(at), length), size);
    found.weight[0] = 1.0;
#else
    let place = bring(at, length);
    let base = floor(place);
    let part = place - base;
#if TAPS == 2
    found.index[0] = index_at(base, size);
    found.weight[0] = 1.0 - part;
    found.index[1] = index_at(base + 1.0, size);
    found.weight[1] = part;
#else
    for (var k = 0; k < 4; k++) {
        found.index[k] = index_at(base + f32(k - 1), size);
        found.weight[k] = keys(abs(part - f32(k - 1)));
    }
#endif
#endif
    return found;
}

// The one neighbour along an axis that is not there.
fn alone() -> Taps {
    var found: Taps;
    for (var k = 1; k < TAPS; k++) {
        found.index[k] = -1;
    }
    found.index[0] = 0;
    found.weight[0] = 1.0;
    return found;
}

fn output(e: u32) -> x_element {
    let map = e / params.positions;
    let place = (map / params.channels * params.positions + e % params.positions) * params.axes;
    var tx = taps(get_grid(place), params.input_x);
    var ty = alone();
    var tz = alone();
    if params.axes > 1u {
        ty = taps(get_grid(place + 1u), params.input_y);
    }
    if params.axes > 2u {
        tz = taps(get_grid(place + 2u), params.input_z);
    }
    var sum = x_element(0);
    for (var kz = 0; kz < TAPS; kz++) {
        for (var ky = 0; ky < TAPS; ky++) {
            for (var kx = 0; kx < TAPS; kx++) {
                if tz.index[kz] >= 0 && ty.index[ky] >= 0 && tx.index[kx] >= 0 {
                    let row = (map * params.input_z + u32(tz.index[kz])) * params.input_y + u32(ty.index[ky]);
                    let v = get_x(row * params.input_x + u32(tx.index[kx]));
#if TAPS == 1
                    sum = v;
#else
                    sum += v * (tz.weight[kz] * ty.weight[ky] * tx.weight[kx]);
#endif
                }
            }
        }
    }
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
    store_y(u, y_unit(output(e), output(min(e + 1u, last)), output(min(e + 2u, last)), output(min(e + 3u, last))));
}
