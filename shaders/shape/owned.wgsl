// y = the x that owns a place, zero where nobody does.
//
// Layout  y: dense over `size`s; owner: dense over the `inner` ones, −1 where nobody owns; both innermost first.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#for i in RANK
#param size{i}: u32
#param inner{i}: u32
#endfor
#read x elements
#read owner elements
#write y

fn owned(e: u32) -> x_element {
    var rest = e;
    var at = 0u;
    var stride = 1u;
    var inside = true;
#for i in RANK
    let c{i} = rest % params.size{i};
    rest = rest / params.size{i};
    inside = inside && c{i} < params.inner{i};
    at += c{i} * stride;
    stride *= params.inner{i};
#endfor
    if !inside {
        return x_element(0);
    }
    let own = get_owner(at);
    return select(x_element(0), get_x(u32(max(own, 0))), own >= 0);
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
    store_y(u, x_unit(owned(e), owned(min(e + 1u, last)), owned(min(e + 2u, last)), owned(min(e + 3u, last))));
}
