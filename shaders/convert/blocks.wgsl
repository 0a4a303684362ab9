// y = x in another layout: rows of whole units into channels in groups of four (TO), or back. Padding becomes zero.
//
// Layout  planar: row (n, c, h) is `row_units` units, of which `width` elements count.
//         channels/4: unit ((n, c/4) · height + h) · width + w holds channels c … c + 3 of a position.
//         A linear image whose height · width is a multiple of four is one row of that length.
// Work    one invocation takes a block of four channels by four neighbours of a row: it reads four units, transposes
//         them in registers and writes four units, so that both sides are read and written in whole units.

#import common/index
#param blocks: u32
#param channels: u32
#param groups: u32
#param height: u32
#param width: u32
#param row_units: u32
#read x
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_index(workgroup, workgroups, local, WORKGROUP);
    if i >= params.blocks {
        return;
    }
    let b = i % params.row_units;
    let line = i / params.row_units;
    let h = line % params.height;
    let image_group = line / params.height;
    let n = image_group / params.groups;
    let c = (image_group % params.groups) << 2u;
    let w = b << 2u;
    // The last channel and column of the block that there are: reads beyond them repeat them and are masked.
    let c_last = min(3u, params.channels - 1u - c);
    let w_last = min(3u, params.width - 1u - w);
    let packed = (image_group * params.height + h) * params.width + w;
    let planar = ((n * params.channels + c) * params.height + h) * params.row_units + b;
    let plane = params.height * params.row_units;
    let zero = x_unit();
#if TO
    let a0 = load_x(planar);
    let a1 = choose_x(zero, load_x(planar + min(1u, c_last) * plane), c_last >= 1u);
    let a2 = choose_x(zero, load_x(planar + min(2u, c_last) * plane), c_last >= 2u);
    let a3 = choose_x(zero, load_x(planar + c_last * plane), c_last >= 3u);
    store_y(packed, x_unit(a0[0], a1[0], a2[0], a3[0]));
    if w_last >= 1u {
        store_y(packed + 1u, x_unit(a0[1], a1[1], a2[1], a3[1]));
    }
    if w_last >= 2u {
        store_y(packed + 2u, x_unit(a0[2], a1[2], a2[2], a3[2]));
    }
    if w_last >= 3u {
        store_y(packed + 3u, x_unit(a0[3], a1[3], a2[3], a3[3]));
    }
#else
    let a0 = load_x(packed);
    let a1 = choose_x(zero, load_x(packed + min(1u, w_last)), w_last >= 1u);
    let a2 = choose_x(zero, load_x(packed + min(2u, w_last)), w_last >= 2u);
    let a3 = choose_x(zero, load_x(packed + w_last), w_last >= 3u);
    store_y(planar, x_unit(a0[0], a1[0], a2[0], a3[0]));
    if c_last >= 1u {
        store_y(planar + plane, x_unit(a0[1], a1[1], a2[1], a3[1]));
    }
    if c_last >= 2u {
        store_y(planar + 2u * plane, x_unit(a0[2], a1[2], a2[2], a3[2]));
    }
    if c_last >= 3u {
        store_y(planar + 3u * plane, x_unit(a0[3], a1[3], a2[3], a3[3]));
    }
#endif
}
