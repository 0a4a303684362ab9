// y[r, c, i, j] = what bin (i, j) of region r holds in channel c of its image:
//   the mean of the picture at a grid of points between its elements, or the largest weighted neighbour of any of them
//   (largest), or, POOL, the largest element of the bin rounded to whole elements.
//
// Layout  x: [N, C, H, W], rois: [R, 4] as x1 y1 x2 y2 (POOL: [R, 5], the image first), images: [R]; all linear.
// Work    one invocation computes one unit of y, each element from scratch. The number of an image that is not there is
//         clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32
#param images: u32
#param channels: u32
#param input_y: u32
#param input_x: u32
#param output_y: u32
#param output_x: u32
#param scale: f32
#if !POOL
#param half_pixel: u32
#param largest: u32
#param points: u32
#endif
#read x elements
#read rois elements
#if !POOL
#read image elements
#endif
#write y

#if POOL
// The elements of a bin along an axis: from x to y − 1.
fn whole(begin: f32, end: f32, index: u32, bins: u32, size: u32) -> vec2<i32> {
    let bound = vec2<f32>(16777216.0);
    let scaled = clamp(vec2<f32>(begin, end) * params.scale, -bound, bound);
    // Halves go away from zero.
    let corners = vec2<i32>(sign(scaled) * floor(abs(scaled) + 0.5));
    let length = u32(max(corners.y - corners.x + 1, 1));
    let each = length / bins;
    let rest = length % bins;
    let first = i32(each * index + rest * index / bins);
    let last = i32(each * (index + 1u) + (rest * (index + 1u) + bins - 1u) / bins);
    return clamp(vec2<i32>(first, last) + corners.x, vec2<i32>(0), vec2<i32>(i32(size)));
}
#else
// The points of a region's bin along an axis: their numbers from `first` to `end` − 1 of `count`, number p at
// start + (p + ½) · bin / count.
struct Line {
    start: f32,
    bin: f32,
    count: f32,
    first: u32,
    end: u32,
}

fn line(begin: f32, end: f32, index: u32, bins: u32, size: u32) -> Line {
    let half = select(0.0, 0.5, params.half_pixel == 1u);
    let low = begin * params.scale - half;
    let high = end * params.scale - half;
    let length = select(max(high - low, 1.0), high - low, params.half_pixel == 1u);
    let bin = length / f32(bins);
    let start = low + f32(index) * bin;
    if params.points > 0u {
        return Line(start, bin, f32(params.points), 0u, params.points);
    }
    // ⌈length / bins⌉, also where a division makes a little more of whole numbers.
    var count = ceil(bin);
    if (count - 1.0) * f32(bins) >= length {
        count -= 1.0;
    }
    count = max(count, 0.0);
    if count <= 256.0 {
        return Line(start, bin, count, 0u, u32(count));
    }
    // Only those that can lie in the picture: at most an element apart, they are few.
    let most = min(count, 1e9);
    let step = bin / count;
    let first = clamp(floor((-2.0 - start) / step), 0.0, most);
    let last = clamp(ceil((f32(size) + 2.0 - start) / step), first, most);
    return Line(start, bin, count, u32(first), u32(last));
}

// The neighbours of a point along an axis, and the part of the second; a negative part outside of the picture.
struct Neighbours {
    low: u32,
    high: u32,
    part: f32,
}

fn neighbours(own: Line, point: u32, size: u32) -> Neighbours {
    let at = own.start + (f32(point) + 0.5) * own.bin / own.count;
    if !(at >= -1.0 && at <= f32(size)) {
        return Neighbours(0u, 0u, -1.0);
    }
    let place = max(at, 0.0);
    let low = u32(place);
    if low >= size - 1u {
        return Neighbours(size - 1u, size - 1u, 0.0);
    }
    return Neighbours(low, low + 1u, place - f32(low));
}
#endif

fn output(e: u32) -> f32 {
    let column = e % params.output_x;
    let row = (e / params.output_x) % params.output_y;
    let map = e / (params.output_x * params.output_y);
    let region = map / params.channels;
#if POOL
    let corner = region * 5u + 1u;
    let own = i32(clamp(get_rois(region * 5u), 0.0, 16777216.0));
#else
    let corner = region * 4u;
    let own = get_image(region);
#endif
    let image = u32(clamp(own, 0, i32(params.images) - 1));
    let plane = (image * params.channels + map % params.channels) * params.input_y * params.input_x;
    let x1 = get_rois(corner);
    let y1 = get_rois(corner + 1u);
    let x2 = get_rois(corner + 2u);
    let y2 = get_rois(corner + 3u);
#if POOL
    let columns = whole(x1, x2, column, params.output_x, params.input_x);
    let rows = whole(y1, y2, row, params.output_y, params.input_y);
    if rows.x >= rows.y || columns.x >= columns.y {
        return 0.0;
    }
    var best = -3.40282347e38;
    for (var i = rows.x; i < rows.y; i++) {
        for (var j = columns.x; j < columns.y; j++) {
            best = max(best, get_x(plane + u32(i) * params.input_x + u32(j)));
        }
    }
    return best;
#else
    let columns = line(x1, x2, column, params.output_x, params.input_x);
    let rows = line(y1, y2, row, params.output_y, params.input_y);
    var sum = 0.0;
    var best = -3.40282347e38;
    var seen = 0.0;
    for (var i = rows.first; i < rows.end; i++) {
        let v = neighbours(rows, i, params.input_y);
        if v.part < 0.0 {
            continue;
        }
        for (var j = columns.first; j < columns.end; j++) {
            let h = neighbours(columns, j, params.input_x);
            if h.part < 0.0 {
                continue;
            }
            let low = plane + v.low * params.input_x;
            let high = plane + v.high * params.input_x;
            let four = vec4<f32>(get_x(low + h.low), get_x(low + h.high), get_x(high + h.low), get_x(high + h.high));
            let parts = vec4<f32>(1.0 - h.part, h.part, 1.0 - h.part, h.part);
            let weighted = four * parts * vec4<f32>(vec2<f32>(1.0 - v.part), vec2<f32>(v.part));
            sum += weighted.x + weighted.y + weighted.z + weighted.w;
            best = max(best, max(max(weighted.x, weighted.y), max(weighted.z, weighted.w)));
            seen += 1.0;
        }
    }
    let all = rows.count * columns.count;
    if params.largest == 0u {
        return sum / max(all, 1.0);
    }
    // A point outside counts as a zero.
    if seen == 0.0 {
        return 0.0;
    }
    return select(best, max(best, 0.0), seen < all);
#endif
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
